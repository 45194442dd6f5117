"use strict";
// Search over all pages, and the folding of code. Text enters the page as text, never as markup.

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

(() => {
  const SHOWN = 30, AROUND = 90; // results, and characters on either side of the first hit
  const root = document.body.dataset.root;
  const box = document.getElementById("search"), found = document.getElementById("found");
  const sections = window.SECTIONS.map(([url, page, heading, text]) => ({
    url, page, heading, text, head: `${page} ${heading}`.toLowerCase(), low: text.toLowerCase(),
  }));

  function score(section, words) { // 0 unless every word occurs; a hit in a heading counts for ten in the text
    let total = 0;
    for (const word of words) {
      const hits = section.low.split(word).length - 1 + (section.head.includes(word) ? 10 : 0);
      if (!hits) return 0;
      total += hits;
    }
    return total;
  }

  function excerpt(section, words) {
    const first = Math.max(0, Math.min(...words.map((word) => section.low.indexOf(word)).filter((at) => at >= 0), section.low.length));
    const start = Math.max(0, first - AROUND), part = section.text.slice(start, first + AROUND);
    const line = make("p", start ? "…" : "");
    let rest = part;
    while (rest) {
      const low = rest.toLowerCase();
      const [at, word] = words.map((w) => [low.indexOf(w), w]).filter(([i]) => i >= 0).sort(([a], [b]) => a - b)[0] || [rest.length, ""];
      line.append(rest.slice(0, at));
      if (word) line.append(make("mark", rest.slice(at, at + word.length)));
      rest = rest.slice(at + word.length);
    }
    line.append("…");
    return line;
  }

  function search() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.length ? sections.map((section) => [score(section, words), section]).filter(([points]) => points) : [];
    hits.sort(([a], [b]) => b - a);
    found.hidden = !words.length;
    document.querySelector("article").hidden = !found.hidden;
    found.replaceChildren(make("p", `${hits.length} ${hits.length === 1 ? "section" : "sections"}${hits.length > SHOWN ? `, the best ${SHOWN} shown` : ""}`, "count"));
    for (const [, section] of hits.slice(0, SHOWN)) {
      const link = make("a", `${section.page} › ${section.heading}`);
      link.href = root + section.url;
      link.addEventListener("click", () => { box.value = ""; search(); });
      const hit = make("div", "", "hit");
      hit.append(link, make("small", ` ${section.url.split("/")[0]}`), excerpt(section, words));
      found.append(hit);
    }
  }
  box.addEventListener("input", search);
  search(); // a browser may have kept what was typed

  const button = document.getElementById("unfold");
  if (button) button.addEventListener("click", () => {
    const cells = [...document.querySelectorAll("details.code")], open = cells.some((cell) => !cell.open);
    for (const cell of cells) cell.open = open;
    button.textContent = open ? "Hide all code" : "Show all code";
  });
})();
