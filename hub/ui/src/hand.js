// Whether something is being pressed. What stands under a finger must not be exchanged before it is lifted: the browser would then tell
// nobody of the click.
const CLICK_MS = 100; // after a finger is lifted its click comes this soon
const LONGEST_MS = 2000; // a hand that is never seen to lift (outside of the window, say) holds up nothing longer

let pressedAt = null;
let waiting = [];

export function start() {
  addEventListener("pointerdown", () => { pressedAt = performance.now(); }, true);
  for (const name of ["pointerup", "pointercancel", "dragend"]) addEventListener(name, () => setTimeout(lift, CLICK_MS), true);
  addEventListener("blur", lift); // the window's own: a field that loses the focus to the pressed button says so as well, but not here
}

function lift() {
  pressedAt = null;
  for (const go of waiting.splice(0)) go();
}

export function pressing() {
  return pressedAt !== null && performance.now() - pressedAt < LONGEST_MS;
}

/** Resolves when nothing is being pressed. */
export async function lifted() {
  if (!pressing()) return;
  await new Promise((go) => {
    waiting.push(go);
    setTimeout(go, LONGEST_MS);
  });
}
