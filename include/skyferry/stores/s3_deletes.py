"""The documents of S3's request that deletes up to a thousand objects, each only if it is still of its etag.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from skyferry.objects import ObjectInfo
from skyferry.stores.http_requests import Answer
from skyferry.stores.s3_api import S3AnswerError

# https://www.w3.org/TR/xml/#charsets; a carriage return is read as a line feed unless it is escaped, which the standard
# library does not do in text.
_NOT_IN_XML = re.compile("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STATUSES = {"AccessDenied": 403, "SlowDown": 503, "ServiceUnavailable": 503, "InternalError": 500}


def fits_into_xml(key: str) -> bool:
    """Tell whether a document can hold the key."""
    return _NOT_IN_XML.search(key) is None


def delete_document(infos: Sequence[ObjectInfo]) -> bytes:
    """Return the document that asks for these versions to be deleted, and to be told only of those that are not."""
    root = ET.Element("Delete", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for info in infos:
        entry = ET.SubElement(root, "Object")
        ET.SubElement(entry, "Key").text = info.key
        ET.SubElement(entry, "ETag").text = f'"{info.etag}"'
    ET.SubElement(root, "Quiet").text = "true"
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def error_of_entry(answer: Answer, entry: ET.Element) -> S3AnswerError:
    """Return the error of one object as if it had been the answer to a request of its own."""
    status = _STATUSES.get(entry.findtext("Code", ""), 400)
    return S3AnswerError(
        Answer(target=answer.target, status=status, headers=answer.headers, body=ET.tostring(entry, encoding="utf-8"))
    )
