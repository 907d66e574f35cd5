"""polars: write Parquet, read it eagerly and lazily, and by a pattern, which lists."""

import os

import polars as pl

options = {
    "account_name": os.environ["ACCOUNT"],
    "endpoint": os.environ["BLOB_ENDPOINT"],
    "sas_token": os.environ["SAS_TOKEN"],
}
folder = f"az://{os.environ['CONTAINER']}/{os.environ['FOLDER']}"
frame = pl.DataFrame({"step": [1, 2, 3], "loss": [0.5, 0.25, 0.125]})
frame.write_parquet(f"{folder}/one.parquet", storage_options=options)
assert pl.read_parquet(f"{folder}/one.parquet", storage_options=options).equals(frame)
assert pl.scan_parquet(f"{folder}/*.parquet", storage_options=options).filter(pl.col("step") > 1).collect().height == 2

# Now and then one of its threads ends the process by a signal as the interpreter ends, which is not what is tested.
os._exit(0)
