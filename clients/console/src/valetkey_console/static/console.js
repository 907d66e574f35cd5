// Times in the reader's zone, buttons that copy, what nobody answered, and secrets that leave with their page. Without it, pages show UTC and lines can be selected.
"use strict";
(() => {
  const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

  const localTimes = (root) => {
    for (const each of root.querySelectorAll("time[datetime]:not([title])")) {
      const moment = new Date(each.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      each.title = each.textContent;
      each.textContent = shown.format(moment);
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
    setTimeout(() => { button.textContent = before; }, 2000);
  });

  // What went wrong before is over with the next try, and where a page asks again by itself, once it is answered.
  const again = (asking) => asking?.sourceEvent?.type === "every";
  const forget = () => { document.getElementById("failure")?.replaceChildren(); };
  document.addEventListener("htmx:before:request", (event) => { if (!again(event.detail.ctx)) forget(); });
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (again(ctx) && ctx.response.status < 400) forget();
  });

  // Nothing came back: what is shown may be old, and nobody knows what was done.
  document.addEventListener("htmx:error", (event) => {
    const { ctx } = event.detail;
    if (!ctx || ctx.response) return;
    const asking = again(ctx) ? "again" : ctx.request.method === "GET" ? "once" : "sent";
    const told = document.getElementById("no-answer").content.cloneNode(true);
    for (const each of told.querySelectorAll("[data-of]")) if (each.dataset.of !== asking) each.remove();
    document.getElementById("failure")?.replaceChildren(told);
  });

  // What is wrong with a field is told at the field, too; a form that came with the page has that from the server.
  const atFields = (answer) => {
    for (const field of document.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    for (const told of document.querySelectorAll(".field > .problem")) told.textContent = "";
    for (const link of answer.querySelectorAll("a[data-field]")) {
      const field = document.getElementById(link.dataset.field);
      const told = document.getElementById(`${link.dataset.field}-problem`);
      if (!field || !told) { link.replaceWith(link.textContent); continue; }
      if (field.tagName !== "FIELDSET") field.setAttribute("aria-invalid", "true");
      told.textContent = link.nextElementSibling.textContent;
      const folded = field.closest("details");
      if (folded) folded.open = true;
    }
  };

  // A link to a field puts one into it.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-field]");
    if (!link) return;
    const field = document.getElementById(link.dataset.field);
    if (!field) return;
    event.preventDefault();
    const entry = field.matches("fieldset") ? field.querySelector("input, select, textarea") : field;
    (entry ?? field).focus();
  });

  // The answer to a form may lie far below the button that was pressed.
  document.addEventListener("htmx:after:swap", (event) => {
    const at = event.target;
    const result = at.closest?.("[data-result]") ?? at.closest?.("form")?.querySelector("[data-result]");
    if (!result) return;
    const failure = document.getElementById("failure");
    const shown = failure?.childElementCount ? failure : result;
    atFields(shown);
    shown.tabIndex = -1;
    shown.focus({ preventScroll: true });
    shown.scrollIntoView({ block: "start" });
  });

  // A browser may keep a page as it was, for the way back: what is shown once is not to be in it.
  addEventListener("pagehide", () => {
    for (const each of document.querySelectorAll("[data-once]")) each.remove();
  });

  // A log-in whose cookie is not kept leads back to the log-in, without a word.
  const noCookies = document.getElementById("no-cookies");
  if (noCookies) {
    const kept = "__Host-valetkey-kept";
    document.cookie = `${kept}=1; Path=/; Secure; SameSite=Lax`;
    noCookies.hidden = document.cookie.includes(`${kept}=1`);
    document.cookie = `${kept}=; Path=/; Secure; SameSite=Lax; Max-Age=0`;
  }

  localTimes(document);
  // Whatever htmx brings in, and however: put in, or morphed out of what was there. What is done already is left alone.
  new MutationObserver(() => { localTimes(document); })
    .observe(document.body, { childList: true, characterData: true, subtree: true });
})();
