// Owns the one thing that must happen before anything is drawn: the chosen theme, so that the page does not flash.
try {
  const theme = JSON.parse(localStorage.getItem("chatmaster.theme") ?? "null");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage: the system's theme it is.
}
