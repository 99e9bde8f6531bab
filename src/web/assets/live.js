// What happens, as it happens: one stream of events for all pages of a browser, and each page fetches again what they are about.
//
// The page that holds the lock reads the stream and tells the others: a browser has six connections to a host, and a stream takes one.
import { headers, path, refusal, hasKey } from './api.js';

const listeners = new Set();
const states = new Set();
const channel = 'BroadcastChannel' in self ? new BroadcastChannel('lbm-live') : null;
/** From when on after its start a page has what it shows first. */
const SETTLED_MS = 1000;
let last = 0;
let state = 'connecting';
let stopping = null;
/** Whether this page holds the lock: it alone knows how the stream is. */
let leading = false;

/** Calls `hear(event)` for each event; returns what ends that. */
export function listen(hear) {
  listeners.add(hear);
  return () => listeners.delete(hear);
}

/** Calls `show(state)` whenever the stream is `live`, `connecting` or `away`. */
export function onState(show) {
  states.add(show);
  show(state);
  return () => states.delete(show);
}

function setState(next) {
  const changed = state !== next;
  state = next;
  if (changed) states.forEach((show) => show(next));
}

function hear(event) {
  if (event.seq) last = event.seq;
  listeners.forEach((listener) => listener(event));
}

function tell(message) {
  channel?.postMessage(message);
  take(message);
}

function take(message) {
  if (message.event) hear(message.event);
  if (message.state) {
    const begins = message.state === 'live' && state !== 'live';
    setState(message.state);
    // Whatever was missed meanwhile: every page looks again. What a page asks first is not asked twice at once.
    if (begins) setTimeout(() => hear({ type: 'anew' }), Math.max(0, SETTLED_MS - performance.now()));
  }
  if (message.asks && leading) channel?.postMessage({ state });
}

const wait = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, { once: true });
});

async function read(signal) {
  // The number that this page has seen last; a daemon that was started anew counts from 1, and then all is fetched again.
  const response = await fetch(path(['events'], { follow: true, after: last || undefined }), {
    headers: headers(), signal, cache: 'no-store', credentials: 'same-origin',
  });
  if (!response.ok) throw await refusal(response);
  tell({ state: 'live' });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    kept += value;
    const parts = kept.split('\n\n');
    kept = parts.pop();
    for (const part of parts) {
      const data = part.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim()).join('');
      if (data) tell({ event: JSON.parse(data) });
    }
  }
}

async function lead(signal) {
  let pause = 250;
  leading = true;
  signal.addEventListener('abort', () => { leading = false; }, { once: true });
  while (!signal.aborted && hasKey()) {
    try {
      await read(signal);
      pause = 250;
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
    }
    tell({ state: 'away' });
    await wait(pause, signal);
    pause = Math.min(pause * 2, 4000);
  }
}

/** Has this page look again: something was done on it, and not all of that is an event. */
export const lookAgain = () => hear({ type: 'anew' });

/** Begins to follow what happens. */
export function start() {
  stop();
  const ending = new AbortController();
  stopping = ending;
  const { signal } = ending;
  const run = () => lead(signal);
  if (navigator.locks && channel) {
    channel.onmessage = ({ data }) => take(data);
    channel.postMessage({ asks: true });
    navigator.locks.request('lbm-live', { signal }, run).catch(() => {});
  } else {
    run();
  }
}

/** Ends that. */
export function stop() {
  stopping?.abort();
  stopping = null;
  setState('connecting');
}
