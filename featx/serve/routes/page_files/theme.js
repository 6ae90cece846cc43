// Run before anything is drawn: the colours that were chosen here, if any.
"use strict";
try {
  const theme = localStorage.getItem("featx-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the colours are those of the system.
}
