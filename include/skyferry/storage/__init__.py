"""Storage verbs for programs: list, read, write and remove objects with the promises of a transfer.

    async with Storage() as storage:
        async for entry in storage.ls("s3://shop-exports/orders/"):
            print(entry.url)

The command line has the same verbs, `transfer ls` and so on.
"""

from skyferry.storage.listing import EVERYTHING, Entry, Wanted
from skyferry.storage.presigning import Presigned, PresignOptions
from skyferry.storage.removing import Removed
from skyferry.storage.renaming import Renamed, RenameOptions
from skyferry.storage.rows import Row
from skyferry.storage.sending import SendOptions, Sent
from skyferry.storage.session import Storage, Usage

__all__ = [
    "EVERYTHING",
    "Entry",
    "PresignOptions",
    "Presigned",
    "Removed",
    "RenameOptions",
    "Renamed",
    "Row",
    "SendOptions",
    "Sent",
    "Storage",
    "Usage",
    "Wanted",
]
