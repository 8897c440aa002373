"use strict";
(() => {
  const all = (query) => [...document.querySelectorAll(query)];
  let pinned = null;

  // The lines of every pane that come from one line of the author's.
  const mark = (at, name) => {
    all("." + name).forEach((line) => line.classList.remove(name));
    if (at) all(`[data-at="${at}"]`).forEach((line) => line.classList.add(name));
  };
  const reveal = (at, but) => {
    for (const pane of all(".lines")) {
      if (pane === but || pane.hidden) continue;
      const line = pane.querySelector(`[data-at="${at}"]`);
      if (line) pane.scrollTop = line.offsetTop - pane.offsetTop - pane.clientHeight / 3;
    }
  };
  const pin = (at, but) => {
    pinned = pinned === at ? null : at;
    mark(pinned, "pinned");
    if (pinned) reveal(pinned, but);
  };
  for (const line of all(".l[data-at]")) {
    line.addEventListener("mouseenter", () => mark(line.dataset.at, "near"));
    line.addEventListener("mouseleave", () => mark(null, "near"));
    line.addEventListener("click", () => pin(line.dataset.at, line.closest(".lines")));
  }
  for (const link of all("a.at")) {
    link.addEventListener("click", () => {
      pinned = null;
      pin(link.dataset.line, null);
      document.querySelector(".pair").scrollIntoView({ behavior: "smooth" });
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && pinned) pin(pinned, null);
  });

  for (const tab of all("[role=tab]")) {
    tab.addEventListener("click", () => {
      all("[role=tab]").forEach((other) => other.setAttribute("aria-selected", other === tab));
      all("[role=tabpanel]").forEach((panel) => (panel.hidden = panel.id !== tab.getAttribute("aria-controls")));
      if (pinned) reveal(pinned, null);
    });
  }

  // All that one thread does of a tile.
  for (const item of all("rect.item")) {
    const same = () => [...item.closest("svg").querySelectorAll(`[data-owner="${item.dataset.owner}"]`)];
    item.addEventListener("mouseenter", () => same().forEach((other) => other.classList.add("same")));
    item.addEventListener("mouseleave", () => same().forEach((other) => other.classList.remove("same")));
  }

  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = getComputedStyle(root).colorScheme === "dark" ||
      (root.style.colorScheme === "" && matchMedia("(prefers-color-scheme: dark)").matches);
    root.style.colorScheme = dark ? "light" : "dark";
  });
})();
