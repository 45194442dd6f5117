"use strict";
// The page of errors: window.ERRORS holds labels, systems and rows; the filters choose which rows are drawn.

(() => {
  const PAGE = 40; // rows drawn at a time
  const { labels, systems, rows, total } = window.ERRORS;
  const at = (id) => document.getElementById(id);
  const fields = ["task", "family", "gold", "answered", "least", "most", "wrong", "containing"].map(at);
  const [task, family, gold, answered, least, most, wrong, containing] = fields;
  let kept = [], drawn = 0;

  const fold = (label, kind) => (kind === "detection" && label !== "no_relation" ? "relation" : label);
  const scored = (row) => task.value !== "relation_only" || labels[row.gold] !== "no_relation";
  const goldOf = (row) => fold(labels[row.gold], task.value);
  const shown = () => systems.map((system, place) => ({ ...system, place }))
    .filter((system) => system.task === task.value && (!family.value || system.family === family.value));
  const answerOf = (row, system) => labels[row.answers[system.place][0]];

  function options(select, values, all) {
    const before = select.value;
    select.replaceChildren(...(all ? [new Option(all, "")] : []), ...values.map((value) => new Option(value, value)));
    if (values.includes(before)) select.value = before;
  }

  function choices() { // labels that occur under the task
    const possible = rows.filter(scored), seen = shown();
    options(gold, [...new Set(possible.map(goldOf))].sort(), "any relation");
    options(answered, [...new Set(possible.flatMap((row) => seen.map((system) => answerOf(row, system))))].sort(), "any relation");
  }

  function keeps(row, seen) {
    const right = seen.filter((system) => answerOf(row, system) === goldOf(row)).length;
    if (!scored(row) || right === seen.length || (wrong.value === "all" && right)) return false;
    if (gold.value && goldOf(row) !== gold.value) return false;
    if (answered.value && !seen.some((system) => answerOf(row, system) === answered.value)) return false;
    if (least.value && !(row.length >= least.valueAsNumber)) return false;
    if (most.value && !(row.length <= most.valueAsNumber)) return false;
    const wanted = containing.value.trim().toLowerCase();
    return !wanted || [row.id, ...(row.words || [])].join(" ").toLowerCase().includes(wanted);
  }

  function sentence(row) {
    const line = make("p", "", "sentence"), within = ([start, end], place) => start <= place && place <= end;
    let before = "", piece = null; // the words of a mention are marked as one
    row.words.forEach((word, place) => {
      const roles = ["subject", "object"].filter((role) => within(row[role], place)).join(" ");
      if (piece && roles === before) {
        piece.append(` ${word}`);
      } else {
        piece = make(roles ? "mark" : "span", word, roles);
        line.append(place ? " " : "", piece);
      }
      before = roles;
    });
    return line;
  }

  function answers(row, seen) { // one line for each answer, the most frequent first
    const groups = new Map();
    for (const system of seen) groups.set(answerOf(row, system), [...(groups.get(answerOf(row, system)) || []), system]);
    const table = make("table");
    for (const [label, group] of [...groups].sort(([, a], [, b]) => b.length - a.length)) {
      const line = table.insertRow(), right = label === goldOf(row);
      line.className = right ? "right" : "wrong";
      line.insertCell().textContent = `${right ? "✓" : "✗"} ${label}`;
      line.insertCell().textContent = group.map((system) => `${system.name} ${probability(row.answers[system.place][1])}`).join(", ");
    }
    return table;
  }

  const probability = (p) => (p === null ? "" : `(${p.toFixed(2)})`);

  function draw() {
    const seen = shown();
    for (const row of kept.slice(drawn, drawn + PAGE)) {
      const item = make("li"), facts = [row.id, row.types, row.length && `${row.length} words`].filter(Boolean);
      item.append(make("p", facts.join(" · "), "facts"), row.words ? sentence(row) : "");
      const truth = make("p", "gold: ", "gold");
      truth.append(make("b", goldOf(row)));
      item.append(truth, answers(row, seen));
      at("errors").append(item);
    }
    drawn = Math.min(kept.length, drawn + PAGE);
    at("more").hidden = drawn >= kept.length;
  }

  function refresh() {
    choices();
    const seen = shown();
    kept = rows.filter((row) => keeps(row, seen));
    drawn = 0;
    at("errors").replaceChildren();
    at("count").textContent = `${kept.length.toLocaleString("en")} of ${total.toLocaleString("en")} test rows, ${seen.length} systems`;
    draw();
  }

  options(task, [...new Set(systems.map((system) => system.task))]);
  options(family, [...new Set(systems.map((system) => system.family))], "all families");
  for (const input of [least, most]) input.disabled = !rows.some((row) => row.length);
  for (const field of fields) field.addEventListener("input", refresh);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("more").addEventListener("click", draw);
  refresh();
})();
