// Loaded into Azurite before its own code. Azurite cannot revoke user delegation keys: it makes them out of a constant.
// Azure can, and what it does then is put in here: a token whose key begins before the revocation of its account is
// refused, with the code that Azure has for it. The file that VALETKEY_REVOCATIONS_FILE names says, by account, before
// which time keys are dead ("before"), and from when on that counts ("since"); both in Unix seconds.
// Whatever else checks a token is Azurite's own code, as it is.
"use strict";

const fs = require("fs");
const path = require("path");

const blob = path.dirname(path.resolve(process.argv[1]));
const authenticator = require(path.join(blob, "authentication", "BlobSASAuthenticator.js")).default;
const storageError = require(path.join(blob, "errors", "StorageError.js")).default;
const storageContext = require(path.join(blob, "context", "BlobStorageContext.js")).default;
const validate = authenticator.prototype.validate;
const file = process.env.VALETKEY_REVOCATIONS_FILE;

let seen = -1;
let revocations = {};

function current() {
  let changed;
  try {
    changed = fs.statSync(file).mtimeMs;
  } catch {
    return {}; // Nothing was ever revoked.
  }
  if (changed !== seen) {
    revocations = JSON.parse(fs.readFileSync(file, "utf8"));
    seen = changed;
  }
  return revocations;
}

authenticator.prototype.validate = async function (request, context) {
  const begins = request.getQuery("skt");
  const account = new storageContext(context).account;
  const revoked = begins && account ? current()[account] : undefined;
  if (revoked && Date.parse(begins) / 1000 < revoked.before && Date.now() / 1000 >= revoked.since) {
    throw new storageError(403, "AuthenticationFailed", "The user delegation key was revoked.", context.contextId);
  }
  return validate.call(this, request, context);
};
