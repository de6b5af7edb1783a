
"use strict";
// Everything that is shown goes through textContent: what a model said stays text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);

  function make(tag, className, ...content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...content);
    return element;
  }

  // ---- Heat maps ----

  const canvases = [...document.querySelectorAll("canvas.map")];
  const hasMaps = data.maps.length > 0 && canvases.length > 0;
  const owned = new Set(data.tokens.flat().map((token) => token.map).filter((map) => data.maps[map]));
  const base = data.maps.findIndex((_, number) => !owned.has(number)); // the map of the whole answer
  const tokensPeak = Math.max(0, ...[...owned].map((number) => data.maps[number].peak));
  let shownMap = null;

  const format = (value) => (value === null ? "no value" : Number(value.toPrecision(3)).toString());

  // Tokens are compared with each other, so their maps share a scale; the whole answer's is the sum of theirs.
  function peakOf(map) {
    return owned.has(data.maps.indexOf(map)) && !find("own")?.checked ? tokensPeak : map.peak;
  }

  // One pixel a block; the style sheet stretches the canvas over the picture. share: -1 to 1.
  function colour(share, look) {
    if (look === "light") return [0, 0, 0, 255 * (1 - Math.max(share, 0))];
    const size = Math.abs(share);
    return share < 0 ? [30, 90, 240, 255 * size] : [255 - 35 * size, 200 * (1 - size) + 20, 20, 255 * size];
  }

  function paint(canvas, map) {
    const grid = map?.grids[canvas.dataset.image] ?? null;
    const strength = find("strength").value / 100;
    // Under heat the picture fades to grey: then every colour is the map's.
    const faded = grid && find("look").value === "heat";
    canvas.parentElement.querySelector("img").style.filter = faded ? `grayscale(${strength})` : "";
    canvas.hidden = grid === null;
    if (grid === null) return;
    canvas.height = grid.length;
    canvas.width = grid[0].length;
    const pen = canvas.getContext("2d");
    const pixels = pen.createImageData(canvas.width, canvas.height);
    const peak = peakOf(map) || 1;
    const look = find("look").value;
    grid.flat().forEach((value, i) => {
      const share = value === null ? 0 : Math.max(-1, Math.min(1, value / peak));
      pixels.data.set(colour(share, look), 4 * i);
    });
    pen.putImageData(pixels, 0, 0);
    canvas.style.opacity = strength;
  }

  function legend(map) {
    const peak = peakOf(map);
    const unit = map.unit ? ` ${map.unit}` : "";
    const signed = map.signed && find("look").value === "heat";
    find("low").textContent = signed ? `-${format(peak)}${unit}` : `${map.signed ? "≤ " : ""}0`;
    find("high").textContent = `${format(peak)}${unit}`;
    find("ramp").className = `ramp ${find("look").value}${signed ? " signed" : ""}`;
  }

  function showMap(number) {
    shownMap = number;
    const map = number === null ? null : data.maps[number];
    canvases.forEach((canvas) => paint(canvas, map));
    find("which").value = number === null ? "" : String(number);
    find("controls").classList.toggle("off", map === null);
    if (map) legend(map);
  }

  // The block under the pointer: outlined, its number in the legend.
  function point(canvas, event) {
    const grid = shownMap === null ? null : data.maps[shownMap].grids[canvas.dataset.image];
    const block = canvas.parentElement.querySelector(".block");
    block.hidden = !grid || event === null;
    if (block.hidden) {
      find("pointed").textContent = "";
      return;
    }
    const place = canvas.parentElement.getBoundingClientRect();
    const index = (at, size, count) => Math.max(0, Math.min(count - 1, Math.floor((at / size) * count)));
    const row = index(event.clientY - place.top, place.height, grid.length);
    const column = index(event.clientX - place.left, place.width, grid[0].length);
    block.style.top = `${(100 * row) / grid.length}%`;
    block.style.left = `${(100 * column) / grid[0].length}%`;
    block.style.height = `${100 / grid.length}%`;
    block.style.width = `${100 / grid[0].length}%`;
    const unit = data.maps[shownMap].unit;
    find("pointed").textContent = `row ${row + 1}, column ${column + 1}: ${format(grid[row][column])} ${unit}`.trim();
  }

  function startMaps() {
    const repaint = () => showMap(shownMap);
    for (const id of ["look", "strength", "own"]) find(id)?.addEventListener("input", repaint);
    find("which").addEventListener("input", () => {
      const number = find("which").value === "" ? null : Number(find("which").value);
      showMap(number);
      texts.forEach((text) => text.mark(text.tokens.findIndex((token) => number !== null && token.map === number)));
    });
    for (const canvas of canvases) {
      canvas.parentElement.addEventListener("pointermove", (event) => point(canvas, event));
      canvas.parentElement.addEventListener("pointerleave", () => point(canvas, null));
    }
    find("controls").hidden = false;
  }

  // ---- Tokens ----

  function candidate(one) {
    const part = make("span", "part");
    part.style.width = `${100 * one.share}%`;
    const name = make("span", "name", make("bdi", "", one.label));
    return make("li", one.said ? "said" : "", name, make("span", "bar", part), make("span", "share", one.text));
  }

  function facts(token) {
    const list = make("dl", "facts");
    for (const [name, value] of token.facts) list.append(make("div", "", make("dt", "", name), make("dd", "", value)));
    return list;
  }

  function startText(root) {
    const tokens = data.tokens[root.dataset.tokens];
    const buttons = [...root.querySelectorAll("button.token")];
    const expected = root.querySelector(".expected");
    let selected = -1;

    function peek(index) {
      buttons.forEach((button, i) => button.classList.toggle("peeked", i === index));
      const token = tokens[index];
      if (!token) return;
      const list = make("ol", "candidates", ...token.top.map(candidate));
      expected.replaceChildren(make("p", "name", make("bdi", "", token.label)), facts(token), list);
    }

    function mark(index) {
      selected = index;
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
      peek(index < 0 ? 0 : index);
    }

    function select(index) {
      const again = index === selected;
      texts.forEach((text) => text.root !== root && text.mark(-1));
      mark(again ? -1 : index);
      if (hasMaps) showMap(again ? (base < 0 ? null : base) : tokens[index].map);
    }

    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = buttons[buttons.indexOf(document.activeElement) + step];
      if (step && next) {
        next.focus();
        event.preventDefault();
      }
    });
    buttons.forEach((button, index) => {
      button.addEventListener("pointerenter", () => peek(index));
      button.addEventListener("focus", () => peek(index));
      button.addEventListener("click", () => select(index));
    });
    root.querySelector(".flow").addEventListener("pointerleave", () => peek(selected < 0 ? 0 : selected));
    const most = Math.max(0, ...tokens.map((token) => token.top.length));
    expected.style.minHeight = `${5 + 1.9 * most}em`; // so that nothing below it jumps
    mark(-1);
    return { root, tokens, mark, select };
  }

  const texts = [...document.querySelectorAll("[data-tokens]")].map(startText);

  if (hasMaps) {
    startMaps();
    const first = texts.find((text) => text.tokens.some((token) => token.map !== null));
    if (base < 0 && first) first.select(first.tokens.findIndex((token) => token.map !== null));
    else showMap(base < 0 ? 0 : base);
  }
})();
