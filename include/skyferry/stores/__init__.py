"""The stores: one protocol, one implementation for each kind of store, one contract suite over all of them."""
