// The editor of a cell: CodeMirror with what the book needs of it. build.py makes one script of it, which a page loads
// when a reader first edits. Colours are those that the page's style sheet has for code, by Pygments' classes.

import * as complete from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentLess, indentMore } from "@codemirror/commands";
import { pythonLanguage } from "@codemirror/lang-python";
import {
  bracketMatching, indentOnInput, indentUnit, LanguageSupport, syntaxHighlighting, syntaxTree,
} from "@codemirror/language";
import { EditorState, Prec, RangeSetBuilder } from "@codemirror/state";
import {
  activateHover, closeHoverTooltips, Decoration, EditorView, hasHoverTooltips, hoverTooltip, keymap, ViewPlugin,
} from "@codemirror/view";
import { styleTags, tagHighlighter, tags } from "@lezer/highlight";

const WIDTH = 4; // spaces of an indentation
const SOON = 100; // milliseconds
const MINUTES = 60000;
const STRINGS = /^(String|FormatString|ContinuedString|Comment)$/; // nothing is completed and nothing explained in them

// Colours -------------------------------------------------------------------------------------------------------------

const python = pythonLanguage.configure({
  props: [
    styleTags({
      "ImportStatement/.": tags.namespace,
      "FormatSpec FormatConversion": tags.string,
      "FormatReplacement/{ FormatReplacement/}": tags.special(tags.brace),
    }),
  ],
});

const colours = tagHighlighter([
  { tag: tags.keyword, class: "k" },
  { tag: tags.moduleKeyword, class: "kn" },
  { tag: tags.operatorKeyword, class: "ow" },
  { tag: [tags.bool, tags.null], class: "kc" },
  { tag: [tags.variableName, tags.propertyName], class: "n" },
  { tag: tags.function(tags.definition(tags.variableName)), class: "nf" },
  { tag: tags.definition(tags.className), class: "nc" },
  { tag: tags.comment, class: "c1" },
  { tag: tags.number, class: "mi" },
  { tag: tags.string, class: "s1" },
  { tag: tags.escape, class: "se" },
  { tag: [tags.operator, tags.modifier, tags.derefOperator], class: "o" },
  { tag: [tags.punctuation, tags.separator, tags.bracket], class: "p" },
  { tag: tags.special(tags.brace), class: "si" },
  { tag: tags.namespace, class: "nn" },
  { tag: tags.meta, class: "nd" },
]);

const BUILTINS = new Set(
  ("__import__ abs all any ascii bin bool bytearray bytes callable chr classmethod compile complex delattr dict dir " +
    "divmod enumerate eval exec filter float format frozenset getattr globals hasattr hash hex id input int isinstance " +
    "issubclass iter len list locals map max memoryview min next object oct open ord pow print property range repr " +
    "reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip").split(" "),
);
const OF_NAMES = { nb: Decoration.mark({ class: "nb" }), bp: Decoration.mark({ class: "bp" }),
  ne: Decoration.mark({ class: "ne" }), nn: Decoration.mark({ class: "nn" }) };

// What Pygments knows by the name: a function of Python's own, an exception, a module.
function kindOf(node, text) {
  if (node.parent.name === "ImportStatement") {
    const from = node.parent.firstChild.name === "from";
    const word = node.parent.getChild(from ? "import" : "as");
    return !word || node.to <= word.from ? "nn" : "";
  }
  if (text === "self" || text === "cls") return "bp";
  return BUILTINS.has(text) ? "nb" : /^[A-Z]\w*(Error|Exception|Warning|Exit|Interrupt)$/.test(text) ? "ne" : "";
}

function named(view) {
  const found = new RangeSetBuilder();
  for (const { from, to } of view.visibleRanges)
    syntaxTree(view.state).iterate({
      from,
      to,
      enter({ name, node }) {
        if (name !== "VariableName") return;
        const kind = kindOf(node, view.state.sliceDoc(node.from, node.to));
        if (kind) found.add(node.from, node.to, OF_NAMES[kind]);
      },
    });
  return found.finish();
}

const classes = ViewPlugin.fromClass(
  class {
    constructor(view) {
      this.decorations = named(view);
    }

    update(update) {
      if (update.docChanged || update.viewportChanged || syntaxTree(update.startState) !== syntaxTree(update.state))
        this.decorations = named(update.view);
    }
  },
  { decorations: (plugin) => plugin.decorations },
);

const look = EditorView.theme({
  "&": { fontSize: "0.85rem", color: "inherit", background: "var(--blk-paper)" },
  "&.cm-focused": { outline: "2px solid var(--blk-accent)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--blk-mono)", lineHeight: 1.25 }, // as the code that it replaces
  ".cm-content": { padding: "1rem 0", caretColor: "var(--blk-ink)" },
  ".cm-line": { padding: "0 1rem", fontStyle: "normal" },
  ".cm-line *": { fontStyle: "normal" },
  "&.cm-focused .cm-matchingBracket": { background: "color-mix(in srgb, var(--blk-accent) 25%, transparent)" },
  "&.cm-focused .cm-nonmatchingBracket": { background: "none" },
  ".cm-tooltip": {
    border: "1px solid var(--blk-line)", borderRadius: "4px", background: "var(--blk-paper)", color: "var(--blk-ink)",
    boxShadow: "0 2px 8px rgb(0 0 0 / 25%)", font: "0.85rem/1.45 var(--blk-sans)", zIndex: 900,
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": {
    fontFamily: "var(--blk-mono)", fontSize: "0.8rem", maxHeight: "13rem", minWidth: "12rem", maxWidth: "min(34rem, 92vw)",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": {
    display: "flex", gap: "1rem", justifyContent: "space-between", margin: 0, padding: "0.1rem 0.5rem", lineHeight: 1.5,
  },
  "& .cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--blk-accent)", color: "var(--blk-paper)" },
  ".cm-completionDetail": {
    color: "var(--blk-muted)", fontStyle: "normal", margin: 0, overflow: "hidden", textOverflow: "ellipsis",
  },
  "[aria-selected] .cm-completionDetail": { color: "inherit" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: 700 },
  ".cm-tooltip.cm-completionInfo": { padding: 0, whiteSpace: "normal" },
  ".blk-told": { boxSizing: "border-box", maxWidth: "min(36rem, 92vw)", maxHeight: "15rem", overflow: "auto", padding: "0.4rem 0.7rem" },
  ".blk-told p": { margin: "0.3rem 0", maxWidth: "none", overflowWrap: "anywhere", whiteSpace: "pre-line" },
  ".blk-told .blk-signature": { fontFamily: "var(--blk-mono)", fontSize: "0.8rem", fontWeight: 600 },
});

// What names are ------------------------------------------------------------------------------------------------------

const inText = (state, at) => STRINGS.test(syntaxTree(state).resolveInner(at, -1).name);
const around = (state, at) => [state.sliceDoc(0, at), state.sliceDoc(at)];

// A docstring as paragraphs; lines of one that begin anew stay lines. In a list only the first is shown.
function told({ signature, doc, where }, whole, home) {
  const box = document.createElement("div");
  box.className = "blk-told";
  box.tabIndex = 0; // it may scroll
  const add = (text, kind) => {
    const line = box.appendChild(document.createElement("p"));
    if (kind) line.className = kind;
    text.split(/`([^`\n]+)`/).forEach((piece, i) => {
      if (i % 2) line.appendChild(document.createElement("code")).textContent = piece;
      else line.append(piece);
    });
    return line;
  };
  add(signature, "blk-signature");
  const paragraphs = doc.split(/\n\s*\n/).filter(Boolean);
  for (const each of paragraphs.slice(0, whole ? undefined : 1))
    add(each.replace(/\n(?!\s*(?:[-*] |\w[\w, ]{0,30}: ))\s*/g, " "));
  if (where && whole) {
    const link = add("").appendChild(document.createElement("a"));
    link.href = home + where;
    link.textContent = `blkmodel/${where.replace(/\.html.*/, ".py")}`;
  }
  return box;
}

function completions(describe, ask) {
  return async (context) => {
    const { state, pos, explicit } = context;
    const [before, after] = around(state, pos);
    if (inText(state, pos) || !(explicit || /[\w.]$|^\s*from\s+[\w.]+\s+$|\bimport\s+$/.test(before.split("\n").pop()))) return null;
    const found = await ask(before, after);
    if (!found || context.aborted) return null;
    const { word, options, more } = found;
    const info = async ({ label }) => {
      const what = await describe(before.slice(0, before.length - word.length) + label.replace(/=$/, ""), "");
      return what && !label.endsWith("=") ? told(what, false) : null;
    };
    return {
      from: pos - word.length,
      options: options.map((each) => ({ ...each, info })),
      validFor: (text) => !more && /^\w*$/.test(text) && text.startsWith(word) && (word || !text.startsWith("_")),
    };
  };
}

const shown = (view) => complete.currentCompletions(view.state).length > 0;
const over = hasHoverTooltips;

// The editor ----------------------------------------------------------------------------------------------------------

// changed and run are told; ask(before, after) and describe(before, after) are promises of what Python says of a place.
export class Editor {
  constructor({ label, text, changed, run, ask, describe, home }) {
    let typed = 0;
    let known = null; // what is said of a name that the reader has asked for by a key
    const said = (word, what) => ({ pos: word.from, end: word.to, above: true, create: () => ({ dom: told(what, true, home) }) });
    const underPointer = async (view, pos) => {
      const word = view.state.wordAt(pos);
      if (!word || inText(view.state, word.to)) return null;
      const begun = Date.now();
      const what = await describe(...around(view.state, word.from));
      if (typed > begun - SOON) return null; // the pointer rests, the reader writes
      return what && said(word, what);
    };
    const hover = hoverTooltip((view, pos) => known || underPointer(view, pos), { hideOnChange: true });
    // One answer is both shown and announced. It is asked for here: what the pointer asks is given up as soon as anything
    // else comes to the editor, and asked again where the pointer is.
    const explain = (view) => {
      const { doc, selection } = view.state;
      const word = view.state.wordAt(selection.main.head);
      if (!word || inText(view.state, word.to)) return true;
      describe(...around(view.state, word.from)).then((what) => {
        if (!what || view.state.doc !== doc || !view.state.selection.eq(selection)) return; // the reader has gone on
        known = said(word, what);
        activateHover(view, word.from, 1, { tooltip: hover, until: (change) => change.docChanged || change.selection });
        known = null;
        view.dispatch({ effects: EditorView.announce.of(`${what.signature}. ${what.doc}`) });
      });
      return true;
    };
    const tab = (view) => {
      const { state } = view;
      if (shown(view)) {
        if (complete.selectedCompletionIndex(state) === null || complete.selectedCompletionIndex(state) < 0)
          complete.moveCompletionSelection(true)(view);
        return complete.acceptCompletion(view) || true;
      }
      if (state.selection.ranges.some((range) => !range.empty)) return indentMore(view);
      const { head } = state.selection.main;
      const fill = WIDTH - ((head - state.doc.lineAt(head).from) % WIDTH);
      view.dispatch(state.update(state.replaceSelection(" ".repeat(fill)), { scrollIntoView: true, userEvent: "input.indent" }));
      return true;
    };
    // Escape closes what is open; when nothing is, the tab key moves on, as everywhere else, until another key is pressed.
    const escape = (view) => {
      const open = shown(view) || over(view.state);
      complete.closeCompletion(view);
      if (over(view.state)) view.dispatch({ effects: closeHoverTooltips });
      if (!open) view.setTabFocusMode(10 * MINUTES);
      return true;
    };
    const runs = () => (run(), true);
    this.view = new EditorView({
      doc: text,
      extensions: [
        Prec.highest(
          keymap.of([
            { key: "Shift-Enter", run: runs },
            { key: "Ctrl-Enter", mac: "Cmd-Enter", run: runs },
            { key: "Ctrl-Enter", run: runs },
            { key: "Ctrl-Space", run: complete.startCompletion },
            { mac: "Alt-i", run: complete.startCompletion },
            { key: "Mod-i", run: explain },
            { key: "Escape", run: escape },
            { key: "ArrowDown", run: complete.moveCompletionSelection(true) },
            { key: "ArrowUp", run: complete.moveCompletionSelection(false) },
            { key: "PageDown", run: complete.moveCompletionSelection(true, "page") },
            { key: "PageUp", run: complete.moveCompletionSelection(false, "page") },
            { key: "Enter", run: complete.acceptCompletion },
            { key: "Tab", run: tab, shift: indentLess },
          ]),
        ),
        EditorView.domEventHandlers({ blur: (event, view) => view.setTabFocusMode(false) }),
        history(),
        keymap.of([...historyKeymap, ...defaultKeymap]),
        new LanguageSupport(python),
        EditorState.tabSize.of(WIDTH),
        indentUnit.of(" ".repeat(WIDTH)),
        indentOnInput(),
        bracketMatching(),
        syntaxHighlighting(colours),
        Prec.highest(classes), // within what the grammar says
        look,
        complete.autocompletion({
          override: [completions(describe, ask)],
          selectOnOpen: false, // the enter key begins a line, as long as nothing was chosen
          defaultKeymap: false,
          icons: false,
        }),
        hover,
        EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
        EditorView.updateListener.of(({ docChanged, view }) => {
          for (const list of view.dom.querySelectorAll(".cm-tooltip-autocomplete > ul")) list.tabIndex = 0; // it scrolls
          if (!docChanged) return;
          typed = Date.now();
          changed();
        }),
      ],
    });
    this.root = document.createElement("div");
    this.root.className = "highlight blk-editor";
    this.root.append(this.view.dom);
    // What is typed is not for the page, which would go to its search at a slash.
    this.root.addEventListener("keydown", (event) => event.ctrlKey || event.metaKey || event.stopPropagation());
  }

  get text() {
    return this.view.state.doc.toString();
  }

  set text(text) {
    if (text !== this.text) this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  focus(selection) {
    if (selection) this.view.dispatch({ selection: { anchor: selection[0], head: selection[1] } });
    this.view.focus();
  }

  remove() {
    this.view.destroy();
    this.root.remove();
  }
}
