/** Owns the icons that only menus show: they come with the first one. */

const SVG_NAMES = "http://www.w3.org/2000/svg";
/** @type {Record<string, string>} the path of each, in a square of 24 */
const MENU_ICONS = {
  quote: "M5 5v14M9 8h10M9 12h10M9 16h6",
  keys: "M3 6.500h18v11H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.5 11v5M13.5 11v5",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1",
  leave: "M13 4.500H5.500v15H13M10.500 12H20M16.500 8l4 4-4 4",
  enter: "M11 4.500h7.500v15H11M4 12h9.500M9.5 8l4 4-4 4",
  globe:
    "M12 3.500a8.500 8.500 0 1 0 0 17a8.500 8.500 0 0 0 0-17M3.500 12h17M12 3.500c5 5 5 12 0 17M12 3.500c-5 5-5 12 0 17",
  shield: "M12 3.500l7 2.500v5.500c0 4.3-2.8 7.5-7 9-4.2-1.5-7-4.7-7-9V6l7-2.500z",
};

/** Put them beside the page's other icons, once. */
export function addMenuIcons() {
  const sprite = document.querySelector(".sprite");
  if (document.getElementById("i-trash")) return;
  for (const [name, path] of Object.entries(MENU_ICONS)) {
    const symbol = document.createElementNS(SVG_NAMES, "symbol");
    symbol.id = `i-${name}`;
    symbol.setAttribute("viewBox", "0 0 24 24");
    const line = document.createElementNS(SVG_NAMES, "path");
    line.setAttribute("d", path);
    symbol.append(line);
    sprite?.append(symbol);
  }
}
