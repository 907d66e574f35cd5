// Loaded into Azurite before its own code. Azurite reads its account keys from AZURITE_ACCOUNTS once a minute, and a
// running process's environment cannot be changed from outside: on SIGHUP this takes the accounts of the file that
// VALETKEY_ACCOUNTS_FILE names, has Azurite read them at once, and removes the file as a sign that they count.
// What checks requests and tokens by these keys is Azurite's own code, as it is.
"use strict";

const fs = require("fs");
const path = require("path");

const main = path.resolve(process.argv[1]);
const store = require(path.join(path.dirname(main), "..", "common", "AccountDataStore.js")).default;
const refresh = store.prototype.refresh;
const stores = new Set();

store.prototype.refresh = function () {
  stores.add(this);
  return refresh.call(this);
};

process.on("SIGHUP", () => {
  const file = process.env.VALETKEY_ACCOUNTS_FILE;
  try {
    process.env.AZURITE_ACCOUNTS = fs.readFileSync(file, "utf8");
  } catch {
    return; // Two signals may come as one, and as two for one file.
  }
  for (const each of stores) {
    each.refresh();
  }
  fs.rmSync(file, { force: true });
});
