"""A source and a destination in memory that cost as little as they can, so that the clients are what is measured.

One process speaks the calls of S3, Azure Blob and Google Cloud Storage that the contenders use, over one set of
buckets. It checks no signature and no condition and keeps no uploaded content, but computes the MD5 and the CRC32C of
whatever it gets, so that every client can verify what it sent. It is of no use as a test double.
"""
