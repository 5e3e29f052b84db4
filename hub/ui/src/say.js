// The dialog that asks for a word when an incident is resolved or commented on from a row; forms that empty themselves once sent.
export function start() {
  const dialog = document.getElementById("say");
  document.body.addEventListener("htmx:afterRequest", ({ detail, target }) => {
    if (detail.successful && target.matches?.("form[data-reset]")) target.reset();
  });
  if (!dialog) return;
  const form = dialog.querySelector("form");
  const title = dialog.querySelector("h2");
  let address = "";
  document.body.addEventListener("click", (event) => {
    const button = event.target.closest("[data-say]");
    if (!button) return;
    address = `/incidents/${button.dataset.incident}/${button.dataset.say}`;
    title.textContent = title.dataset[button.dataset.say];
    form.elements.text.required = button.dataset.say === "comment";
    form.reset();
    dialog.showModal();
    form.elements.text.focus();
  });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close();
    window.htmx.ajax("POST", address, { source: document.body, values: { text: form.elements.text.value }, swap: "none" });
  });
}
