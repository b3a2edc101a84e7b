// The symbol box: a text field with a list of the symbols that contain the typed text (the combobox pattern of ARIA).
// Does not know the stream or the chart.

/** The number of options that PageUp and PageDown move by. */
const PAGE = 10;
const MOVES = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE };

const bare = (name) => name.slice(name.indexOf(":") + 1);

/**
 * Returns the names that contain every word of `text`, whatever the case. First the name itself, then names that start
 * with the text, then those that do after a number (`1000SOLUSDT` for `sol`), then the others; each in the order given.
 */
export function search(names, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = names.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  const rank = (name) => {
    const [whole, end] = [name.toLowerCase(), bare(name).toLowerCase()];
    const first = words[0] ?? "";
    if (whole === first || end === first) return 0;
    if (whole.startsWith(first) || end.startsWith(first)) return 1;
    return end.replace(/^\d+/, "").startsWith(first) ? 2 : 3;
  };
  return words.length === 0 ? found : found.toSorted((a, b) => rank(a) - rank(b));
}

/** Returns the symbol called `text`, whatever the case. The category may be left out if only one has the symbol. */
export function named(names, text) {
  const wanted = text.trim().toLowerCase();
  const exact = names.find((name) => name.toLowerCase() === wanted);
  const others = names.filter((name) => name.toLowerCase().endsWith(`:${wanted}`));
  return exact ?? (others.length === 1 ? others[0] : undefined);
}

export class SymbolBox {
  #input;
  #popup;
  #list;
  #count;
  #choose;
  #names = [];
  #current = "";
  #found = [];
  #active = -1;
  #isTyped = false;

  /** `popup` contains the list and the count of symbols; `choose(text)` is called with a name, or with an unknown text. */
  constructor({ input, popup, list, count }, choose) {
    [this.#input, this.#popup, this.#list, this.#count, this.#choose] = [input, popup, list, count, choose];
    input.addEventListener("input", () => {
      this.#isTyped = true;
      this.#open();
    });
    // Taken over from the browser, which would drop the selection of the whole name at the end of the press.
    input.addEventListener("mousedown", (event) => {
      if (event.button !== 0 || !popup.hidden) return;
      event.preventDefault();
      this.#enter();
    });
    // A screen reader clicks without a press.
    input.addEventListener("click", () => popup.hidden && this.#enter());
    input.addEventListener("keydown", (event) => this.#press(event));
    input.addEventListener("blur", () => this.#leave());
    // Without this, the press would move the focus and close the list before the click.
    popup.addEventListener("pointerdown", (event) => event.preventDefault());
    popup.addEventListener("mousedown", (event) => event.preventDefault());
    list.addEventListener("click", ({ target }) => {
      const option = target.closest("[role=option]");
      if (option !== null) this.#take(this.#found[[...list.children].indexOf(option)]);
    });
  }

  /** Sets the symbols that can be chosen. */
  offer(names) {
    this.#names = names;
    this.#input.disabled = false;
    if (!this.#popup.hidden) this.#open();
  }

  /** Shows the chosen symbol. */
  show(name) {
    this.#current = name;
    if (!this.#isTyped) this.#input.value = name;
  }

  /** Takes the active option, or the text if no symbol contains it. */
  submit() {
    if (!this.#popup.hidden) this.#take(this.#found[this.#active] ?? this.#input.value.trim());
  }

  #enter() {
    this.#input.focus();
    this.#input.select();
    this.#open();
  }

  #open() {
    const text = this.#isTyped ? this.#input.value : "";
    this.#found = search(this.#names, text);
    const [word = ""] = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.#list.replaceChildren(...this.#found.map((name, at) => this.#option(name, at, word)));
    const [found, all] = [this.#found.length, this.#names.length];
    this.#count.textContent = found === 0 ? `No symbol contains “${text.trim()}”` : `${found} of ${all} symbols`;
    this.#popup.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#activate(this.#isTyped ? Math.min(0, found - 1) : this.#found.indexOf(this.#current));
  }

  /** Creates an option, with the typed word marked. */
  #option(name, at, word) {
    const option = Object.assign(document.createElement("li"), { id: `symbol-${at}`, role: "option", ariaSelected: "false" });
    const from = name.toLowerCase().indexOf(word);
    const mark = Object.assign(document.createElement("mark"), { textContent: name.slice(from, from + word.length) });
    option.append(name.slice(0, from), mark, name.slice(from + word.length));
    if (name === this.#current) option.dataset.current = "";
    return option;
  }

  #activate(at) {
    this.#list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = at;
    const option = this.#list.children[at];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option === undefined) this.#input.removeAttribute("aria-activedescendant");
    else this.#input.setAttribute("aria-activedescendant", option.id);
  }

  #press(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const isOpen = !this.#popup.hidden;
    if (event.key in MOVES) {
      if (!isOpen) this.#open();
      else this.#move(MOVES[event.key]);
    } else if (event.key === "Escape" && isOpen) this.#close();
    else return;
    event.preventDefault();
  }

  /** Moves the active option: a step wraps around, a page stops at the ends. */
  #move(by) {
    const count = this.#found.length;
    if (count === 0) return;
    const at = this.#active + by;
    const isStep = Math.abs(by) === 1;
    const start = this.#active < 0 && by < 0 ? count - 1 : at;
    this.#activate(isStep ? (start + count) % count : Math.min(Math.max(at, 0), count - 1));
  }

  #take(text) {
    this.#close();
    // A touch keyboard would hide the chart.
    if (matchMedia("(pointer: coarse)").matches) this.#input.blur();
    this.#choose(text);
  }

  /** A text that is a symbol, or none, is taken as with Enter; with a part of a name, the symbol stays. */
  #leave() {
    const text = this.#input.value.trim();
    const isTaken = this.#isTyped && text !== "";
    this.#close();
    if (!isTaken) return;
    const symbol = named(this.#names, text);
    if (symbol !== undefined || search(this.#names, text).length === 0) this.#choose(symbol ?? text);
  }

  /** Closes the list and shows the chosen symbol again. */
  #close() {
    this.#isTyped = false;
    this.#popup.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.removeAttribute("aria-activedescendant");
    this.#input.value = this.#current;
    if (document.activeElement === this.#input) this.#input.select();
  }
}
