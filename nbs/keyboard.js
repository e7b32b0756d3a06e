// What scrolls can be reached with the Tab key.
function reach() {
  for (const e of document.querySelectorAll("pre, .cell_output, .math-wrapper, .table-wrapper")) {
    if (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight) e.tabIndex = 0;
    else e.removeAttribute("tabindex");
  }
}
addEventListener("load", reach);
addEventListener("resize", reach);
