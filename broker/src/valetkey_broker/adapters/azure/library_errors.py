"""What Azure's libraries raise."""

import zlib

import aiohttp
from azure.core.exceptions import AzureError

# Rubbish for an answer makes the libraries stumble in many ways; what they are handed here is theirs alone.
LIBRARY_ERRORS = (
    AzureError,
    aiohttp.ClientError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    zlib.error,
    RecursionError,
    SyntaxError,  # of XML
)
