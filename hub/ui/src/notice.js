// A sentence in the corner for six seconds, read out by screen readers.
const FOR_MS = 6000;

export function notice(text) {
  const line = document.createElement("p");
  line.textContent = text;
  document.getElementById("notice").append(line);
  setTimeout(() => line.remove(), FOR_MS);
}

/** Say something at once to who cannot see the screen. */
export function announce(text) {
  document.getElementById("alarm").textContent = text;
}
