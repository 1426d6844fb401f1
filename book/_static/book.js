// Before the page is drawn: the theme that the system asks for, unless the reader has chosen one.
if (!localStorage.getItem("mode")) {
  document.documentElement.dataset.mode = "auto";
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// A page that is read from disk may not read other pages: there, search results come without excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
