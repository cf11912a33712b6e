// The console's one script: keys (j k / g ?), and the counts of the channel page every two seconds. Works without it too.
"use strict";
(() => {
  const rows = () => [...document.querySelectorAll("tr[data-row]")];
  let at = -1;
  let going = 0;

  function step(by) {
    const all = rows();
    if (!all.length) return;
    at = Math.max(0, Math.min(all.length - 1, at + by));
    all.forEach((row, i) => row.classList.toggle("here", i === at));
    const link = all[at].querySelector("a");
    if (link) link.focus({ preventScroll: true });
    all[at].scrollIntoView({ block: "nearest" });
  }

  function help() {
    const dialog = document.getElementById("help");
    if (dialog && !dialog.open) dialog.showModal();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, select, textarea, dialog[open]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (going && Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`nav a[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); return; }
    }
    const act = {
      j: () => step(1), k: () => step(-1), g: () => { going = Date.now(); }, "?": help,
      "/": () => { const box = document.querySelector("[data-search]"); if (box) { box.focus(); box.select(); } },
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  document.querySelectorAll("[data-help]").forEach((button) => button.addEventListener("click", help));

  const live = document.querySelector("[data-live]");
  if (!live) return;
  const usual = live.textContent;
  const number = new Intl.NumberFormat("en-US");
  const before = new Map();

  function seconds(s) {
    if (s < 0.05) return "0 s";
    if (s < 10) return s.toFixed(1) + " s";
    if (s < 120) return s.toFixed(0) + " s";
    if (s < 7200) return (s / 60).toFixed(0) + " min";
    return s < 172800 ? (s / 3600).toFixed(0) + " h" : (s / 86400).toFixed(0) + " d";
  }

  function health(cell, one) {
    const [text, kind] = one.stopped ? ["stopped", "dead"] : one.trouble ? ["trouble", "dead"] : one.paused ? ["paused", "uncertain"]
      : one.breaker === "open" ? ["open", "dead"] : one.breaker === "half_open" ? ["half", "uncertain"] : ["running", "done"];
    if (one.enabled === false && kind === "done") return;
    const span = cell.firstElementChild;
    span.textContent = cell.dataset[text];
    span.className = "state s-" + kind;
  }

  function show(one, now) {
    const row = document.querySelector(`tr[data-channel="${CSS.escape(one.name)}"]`);
    if (!row) return false;
    const n = { ...one.counts, blockedLanes: one.blockedLanes };
    row.querySelectorAll("[data-n]").forEach((cell) => {
      const value = n[cell.dataset.n];
      cell.textContent = number.format(value);
      cell.closest("td").classList.toggle("zero", !value);
    });
    health(row.querySelector("[data-health]"), one);
    row.querySelector("[data-lag]").textContent = seconds(one.lagSeconds);
    const moved = one.direction === "out" ? n.done : n.received;
    const last = before.get(one.name);
    const rate = row.querySelector("[data-rate]");
    if (last) rate.textContent = number.format(Math.round(((moved - last.moved) * 1000) / Math.max(1, now - last.now)));
    before.set(one.name, { moved, now });
    return true;
  }

  async function look() {
    if (!document.hidden) {
      try {
        const answer = await fetch("/console/status", { headers: { Accept: "application/json" } });
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok) throw new Error(String(answer.status));
        const now = Date.now();
        const known = (await answer.json()).channels.map((one) => show(one, now));
        live.classList.remove("lost");
        if (live.textContent !== usual) live.textContent = usual;
        if (known.includes(false)) { location.reload(); return; }
      } catch {
        live.classList.add("lost");
        if (live.textContent !== live.dataset.lost) live.textContent = live.dataset.lost;
      }
    }
    setTimeout(look, 2000);
  }
  look();
})();
