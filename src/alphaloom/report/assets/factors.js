// Sorts and filters the table of factors; without it the table stands in the order of |t|.
(() => {
  const table = document.getElementById("all-factors");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const input = document.getElementById("filter");
  const shown = document.getElementById("shown");

  const keyOf = (row, at) => {
    const cell = row.cells[at];
    if (at === 0) return row.dataset.words;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const sort = (at, falling) => {
    const keyed = rows.map((row, place) => ({ row, place, key: keyOf(row, at) }));
    keyed.sort((one, two) => {
      // What is not known comes last in either direction.
      if (one.key === null || two.key === null) return (one.key === null) - (two.key === null) || one.place - two.place;
      const order = one.key < two.key ? -1 : one.key > two.key ? 1 : 0;
      return (falling ? -order : order) || one.place - two.place;
    });
    body.append(...keyed.map((item) => item.row));
    heads.forEach((head, k) => { if (head.hasAttribute("aria-sort")) head.setAttribute("aria-sort", k === at ? (falling ? "descending" : "ascending") : "none"); });
  };
  heads.forEach((head, at) => {
    const button = head.querySelector("button.sort");
    if (button) button.addEventListener("click", () => {
      const state = head.getAttribute("aria-sort");
      sort(at, at === 0 ? state === "ascending" : state !== "descending");
    });
  });
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const match = words.every((word) => row.dataset.words.includes(word));
      row.hidden = !match;
      count += match;
    }
    shown.textContent = words.length ? `${count} of ${rows.length}` : "";
  });
})();
