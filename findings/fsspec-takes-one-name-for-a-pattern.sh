#!/usr/bin/env bash
# A blob may be called "run?1": "?", "*" and "[" are ordinary characters in names of Azure, S3 and GCS. fsspec's rm and
# copy take the name of one file, too, for a pattern, in every file system that inherits them (adlfs, s3fs, gcsfs …):
# rm("run?1") removes its neighbours "run-1" and "run 1" besides; rm of an existing "run[1]" finds nothing; and copy of
# "run?1" to "copy" makes a folder "copy" with "run?1" in it. rm_file and cp_file take names as they are.
# Guessed before: a name that exists as it stands is taken as it stands.
# Versions: fsspec 2026.9.0 (PyPI), its own in-memory file system. Needs: python3 ≥ 3.10 with venv.
# Seen: what the four assertions say.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet fsspec==2026.9.0 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import fsspec

store = fsspec.filesystem("memory")
for name in ("run?1", "run-1", "run 1", "run[1]", "kept"):
    store.pipe(f"/runs/{name}", b"x")

store.rm("/runs/run?1")
left = sorted(store.find("/runs"))
print("rm of run?1 left:", left)
assert left == ["/runs/kept", "/runs/run[1]"], left

try:
    store.rm("/runs/run[1]")
except FileNotFoundError:
    print("rm of run[1], which exists: FileNotFoundError")
else:
    raise AssertionError("rm of run[1] found it")

store.pipe("/runs/run?1", b"x")
store.copy("/runs/run?1", "/runs/copy")
copied = sorted(store.find("/runs/copy"))
print("copy of run?1 to copy made:", copied)
assert copied == ["/runs/copy/run?1"], copied

store.pipe("/runs/run-1", b"x")
store.rm_file("/runs/run?1")
store.rm_file("/runs/run[1]")
assert store.exists("/runs/run-1") and not store.exists("/runs/run?1")
print("rm_file took the names as they are")
PY
venv/bin/python try.py
