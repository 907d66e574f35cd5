"""Files that others rotate, such as certificates and tokens: what is made of them follows them."""

from valetkey_broker.watched_files.trusted_cas import trusted_cas
from valetkey_broker.watched_files.watched_files import CHECK_SECONDS, WatchedFiles
from valetkey_broker.watched_files.whole_pem import is_whole_pem

__all__ = ["CHECK_SECONDS", "WatchedFiles", "is_whole_pem", "trusted_cas"]
