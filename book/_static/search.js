// Searches the book: its sections, questions, symptoms and words, and the functions of the model (book/_ext/book_search.py
// gathers them). Without a page it gives `Book` to whoever runs it, as the tests do.

const Book = (() => {
  "use strict";

  const MOST = 40; // results
  const AROUND = 240; // letters of an excerpt
  const NAME = /^(nvme\d+(n\d+)?(p\d+)?|sd[a-z]+\d*|nullb\d+|vd[a-z]\d*)$/; // of some disk, which is nobody else's
  const MAPPED = /\bdm-\d+\b/gi; // two words for `words`: its number is nobody else's, either
  const ALL = 1.5; // what a place is worth more that has every word
  const PARTS = 0.1; // what a part of a name is worth
  const CJK = /[\u3400-\u9fff]/;

  const stemmer = new Stemmer();
  const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
  const pairs = (run) => (run.length < 2 ? [run] : [...run].slice(1).map((each, i) => run[i] + each));

  // A name is found by itself and by its parts, Chinese by every two letters.
  function tokens(text) {
    const parts = (word) => {
      if (CJK.test(word)) return pairs(word);
      return word.includes("_") ? [word, ...word.split("_").filter(Boolean)] : [word];
    };
    return words(text).flatMap(parts);
  }
  const asked = (query) => words(query).flatMap((word) => (CJK.test(word) ? pairs(word) : [word]));
  const ASKING = "what why how meaning means when where which who does do did can have has i my it its much happen happens vs versus difference between".split(" ");
  const idle = (word) => stopwords.includes(word) || ASKING.includes(word);
  const stem = (word) => (word.includes("_") || /\d/.test(word) ? word : stemmer.stemWord(word));
  // What people call a thing → what the book calls it; both as stems. A Map, since there are words such as "constructor".
  const SAME = new Map(
    Object.entries({ lvm: "volum", lv: "volum", merg: "join", luk: "crypt", cryptsetup: "crypt", mpath: "multipath", hung: "hang", trim: "discard", qd: "depth" }),
  );
  const term = (word) => (idle(word) ? null : SAME.get(stem(word)) || stem(word));

  function make(texts) {
    const index = new MiniSearch({
      fields: ["title", "page", "text"],
      storeFields: ["weight"],
      tokenize: tokens,
      processTerm: term,
      searchOptions: {
        tokenize: asked,
        boost: { title: 5, page: 1.5 },
        prefix: (word) => word.length > 3,
        boostDocument: (id, word, { weight }) => weight,
      },
    });
    index.addAll(texts.map(([, page, title, text, weight], id) => ({ id, page, title: title || page, text, weight })));
    const patterns = texts.flatMap(([, , , , , pattern], id) => (pattern ? [[new RegExp(pattern, "i"), id]] : []));
    const places = new Map(); // address → what stands there; what people call it leads there, too, and comes later
    for (const [address, page, title, text] of texts) if (!places.has(address)) places.set(address, { address, page, title, text });
    const names = new Map(texts.map(([, , title], id) => [title.toLowerCase(), id]));

    // What a line of a log is, or what has just this name. Then what is worth most: each place has the sum of its words,
    // and the more of them it has, the more that counts, so that who pastes a whole line finds something, too.
    // Where nothing has any of them, what is nearly written so.
    function find(query) {
      const known = asked(query.replace(MAPPED, "dm"));
      const useful = known.filter((word) => term(word) && !NAME.test(word));
      const text = (useful.length ? useful : known).join(" ");
      const found = new Set(patterns.filter(([pattern]) => pattern.test(query)).map(([, id]) => id));
      const named = names.get(text);
      if (named !== undefined) found.add(named);
      const wanted = new Set(asked(text).map(term).filter(Boolean)).size;
      const worth = new Map();
      const add = (results, times) => {
        for (const { id, score, queryTerms } of results) {
          const share = new Set(queryTerms).size / wanted;
          worth.set(id, Math.max(worth.get(id) || 0, times * score * (share < 1 ? share : ALL)));
        }
      };
      add(index.search(text), 1);
      const parts = tokens(text).filter((word) => !word.includes("_")).join(" ");
      if (parts !== text) add(index.search(parts), PARTS);
      if (!worth.size) add(index.search(text, { fuzzy: 0.2 }), 1);
      [...worth].sort(([, a], [, b]) => b - a).forEach(([id]) => found.add(id));
      return [...new Set([...found].map((id) => texts[id][0]))].slice(0, MOST).map((address) => places.get(address));
    }
    return { find };
  }

  // The part of a text that has most of the words, in pieces: [text, whether it is one of the words].
  function excerpt(text, query) {
    const wanted = asked(query).filter(term).flatMap((word) => [stem(word), term(word)]);
    const hits = [...text.matchAll(/[\p{L}\p{N}_]+/gu)].filter(([word]) => {
      const lower = word.toLowerCase();
      return wanted.some((each) => (each.length > 3 ? lower.startsWith(each) : lower === each) || (CJK.test(each) && lower.includes(each)));
    });
    let best = 0;
    let most = 0;
    for (const { index } of hits) {
      const within = hits.filter((each) => each.index >= index && each.index < index + AROUND - 60);
      const kinds = new Set(within.map(([word]) => word.toLowerCase().slice(0, 4))).size;
      if (kinds > most) [best, most] = [index, kinds];
    }
    let begin = Math.max(0, best - 60);
    while (begin && text[begin - 1] !== " ") begin--;
    const end = Math.min(text.length, begin + AROUND);
    const pieces = [[begin ? "… " : "", false]];
    let at = begin;
    for (const { index, 0: word } of hits) {
      if (index < begin || index + word.length > end) continue;
      pieces.push([text.slice(at, index), false], [word, true]);
      at = index + word.length;
    }
    pieces.push([text.slice(at, end) + (end < text.length ? " …" : ""), false]);
    return pieces.filter(([piece]) => piece);
  }

  return { make, excerpt, asked };
})();

function searchThePage() {
  const query = new URLSearchParams(location.search).get("q") || "";
  for (const field of document.querySelectorAll('input[name="q"]')) field.value = query;
  const out = document.getElementById("search-results");
  const add = (to, name, text = "") => to.appendChild(Object.assign(document.createElement(name), { textContent: text }));
  if (query.trim()) {
    const found = Book.make(window.bookTexts).find(query);
    const says = add(out, "p", found.length ? "" : "Nothing in the book has these words.");
    says.setAttribute("role", "status");
    if (found.length) says.textContent = `${found.length} place${found.length > 1 ? "s" : ""}, the best first.`;
    const list = add(out, "ul");
    list.className = "search";
    for (const { address, page, title, text } of found) {
      const item = add(list, "li");
      add(item, "a", title || page).href = address;
      if (title && title !== page) add(item, "span", ` ${page}`).className = "search-page";
      const context = add(item, "p");
      context.className = "context";
      for (const [piece, hit] of Book.excerpt(text, query)) add(context, hit ? "mark" : "span", piece);
    }
    localStorage.setItem("sphinx_highlight_terms", Book.asked(query).join(" ")); // the page it leads to marks them
  }
}

if (typeof document !== "undefined") addEventListener("DOMContentLoaded", searchThePage);
