"use strict";
// The switch between the colours of the system, light and dark. The choice stays for the next page where the browser allows it.
(() => {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const choices = ["auto", "light", "dark"];
  let choice = "auto";
  const apply = () => {
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
    button.textContent = button.dataset[choice];
    window.dispatchEvent(new Event("themechange"));
  };
  try { choice = choices.find((each) => each === localStorage.getItem("yoyak-theme")) || "auto"; } catch (error) { /* no storage */ }
  button.hidden = false;
  apply();
  button.addEventListener("click", () => {
    choice = choices[(choices.indexOf(choice) + 1) % choices.length];
    try { localStorage.setItem("yoyak-theme", choice); } catch (error) { /* no storage */ }
    apply();
  });
  // Chromium keeps empty boxes for words that it laid out before the embedded font was read. A new font property draws them again.
  document.fonts.load('16px "Yoyak Hangul"', "한").then(() => { document.body.style.fontFeatureSettings = '"kern"'; });
})();
