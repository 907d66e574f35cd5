"""The version of this distribution. Asking the installed metadata for it takes longer than a call does."""

VERSION = "0.1.0"
