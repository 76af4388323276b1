/** Owns the sound of a message: two soft tones, made here and loaded from nowhere. */

const SOUND_TONES = [880, 1174.7]; // Hz
const APART = 0.11; // s
const LASTS = 0.35;
const LOUDNESS = 0.12;
const NOT_SOONER = 1000; // ms after the last one

/** @type {AudioContext | undefined} */
let audio;
let played = -NOT_SOONER;

/** Browsers allow it once the page was pressed or typed at; before that it stays silent. */
export function playSound() {
  const now = performance.now();
  if (now - played < NOT_SOONER || typeof AudioContext === "undefined") return;
  played = now;
  audio ??= new AudioContext();
  audio.resume().catch(() => {});
  SOUND_TONES.forEach((tone, place) => {
    playTone(/** @type {AudioContext} */ (audio), tone, place * APART);
  });
}

/**
 * @param {AudioContext} context
 * @param {number} frequency
 * @param {number} after s
 */
function playTone(context, frequency, after) {
  const from = context.currentTime + after;
  const oscillator = context.createOscillator();
  const gain = context.createGain();
  oscillator.frequency.value = frequency;
  gain.gain.setValueAtTime(LOUDNESS, from);
  gain.gain.exponentialRampToValueAtTime(0.0001, from + LASTS);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(from);
  oscillator.stop(from + LASTS);
}
