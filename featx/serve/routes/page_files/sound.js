// Sounds: decoded by the browser, drawn, played, recorded, and written as WAV.

const RATE_HZ = 48000;
const LONGEST_S = 30;
const READ_BY_SERVICE = /\.(wav|flac|ogg|oga|opus|mp3|aiff?|au|w64|caf)$/i;

/**
 * Return an item of a sound.
 *
 * What the service reads is sent as it is; anything else that this browser can decode becomes WAV.
 */
export async function soundOf(file) {
  let samples = null;
  try {
    samples = await decoded(file);
  } catch {
    // Another format than this browser's: it has no curve, and may still be the service's.
  }
  if (READ_BY_SERVICE.test(file.name)) return { kind: "audio", file, name: file.name, samples };
  if (samples === null) {
    throw new Error(`${file.name}: this browser cannot decode it; choose WAV, FLAC, Ogg or MP3`);
  }
  const name = file.name.replace(/\.\w+$/, "") + ".wav";
  return { kind: "audio", file: new File([wavOf(samples)], name, { type: "audio/wav" }), name, samples };
}

/** Return the mean of the channels of a sound, at 48 kHz. */
async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, RATE_HZ);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    const samples = sound.getChannelData(channel);
    for (let at = 0; at < mono.length; at += 1) mono[at] += samples[at] / sound.numberOfChannels;
  }
  return mono;
}

/** Return samples as the bytes of a WAV file: one channel, 16 bits. */
export function wavOf(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // whole numbers
  view.setUint16(22, 1, true); // one channel
  view.setUint32(24, RATE_HZ, true);
  view.setUint32(28, 2 * RATE_HZ, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  for (let at = 0; at < samples.length; at += 1) {
    const sample = Math.max(-1, Math.min(1, samples[at]));
    view.setInt16(44 + 2 * at, Math.round(sample * 32767), true);
  }
  return view.buffer;
}

export const secondsOf = (samples) => samples.length / RATE_HZ;

/** Draw the curve of a sound in the colour of the canvas. */
export function drawSound(canvas, samples) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = getComputedStyle(canvas).color;
  const bars = Math.max(1, Math.floor(width / 3));
  const peaks = Array.from({ length: bars }, (_, bar) => peakOf(samples, bar / bars, (bar + 1) / bars));
  const loudest = Math.max(...peaks, 1e-6);
  peaks.forEach((peak, bar) => {
    const tall = Math.max(1, (peak / loudest) * (height - 4));
    pen.fillRect((bar * width) / bars, (height - tall) / 2, 2, tall);
  });
}

function peakOf(samples, from, to) {
  let peak = 0;
  const end = Math.ceil(to * samples.length);
  for (let at = Math.floor(from * samples.length); at < end; at += 1) peak = Math.max(peak, Math.abs(samples[at]));
  return peak;
}

let playing = null;

/** Play samples; what plays already ends, and `ended` is called once nothing plays any more. */
export function play(samples, ended) {
  stopPlaying();
  const context = new AudioContext();
  const sound = context.createBuffer(1, samples.length, RATE_HZ);
  sound.copyToChannel(samples, 0);
  const source = context.createBufferSource();
  source.buffer = sound;
  source.connect(context.destination);
  source.onended = () => {
    context.close();
    if (playing === source) playing = null;
    ended();
  };
  source.start();
  playing = source;
}

export const isPlaying = () => playing !== null;

export function stopPlaying() {
  playing?.stop();
}

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

/**
 * Record from the microphone until `stop` is called, half a minute at most.
 *
 * `level` is told the loudness, 0 to 1, and the seconds so far; `done` gets the file.
 */
export async function record(level, done) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  const meter = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(meter);
  const recorder = new MediaRecorder(stream);
  const parts = [];
  const wave = new Float32Array(meter.fftSize);
  const started = performance.now();
  const timer = setInterval(() => {
    meter.getFloatTimeDomainData(wave);
    const seconds = (performance.now() - started) / 1000;
    level(Math.min(1, 2 * peakOf(wave, 0, 1)), seconds);
    if (seconds >= LONGEST_S && recorder.state === "recording") recorder.stop();
  }, 80);
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    clearInterval(timer);
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    const time = new Date().toTimeString().slice(0, 8);
    done(new File(parts, `recorded ${time}.webm`, { type: recorder.mimeType }));
  };
  recorder.start();
  return () => recorder.state === "recording" && recorder.stop();
}
