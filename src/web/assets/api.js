// Asks the daemon. Every refusal becomes a Refused: a sentence, and what to do next.
import { called, placed, short } from './words.js';

const PREFIX = '/api/v1';
const KEY = 'lbm-panel-key';

/** A refusal, or a daemon that is away. */
export class Refused extends Error {
  constructor({ detail, remedy, code, status }) {
    super(detail);
    this.remedy = remedy ?? '';
    this.code = code ?? 'unknown';
    this.status = status ?? 0;
  }
}

let lastUse = Date.now();
for (const kind of ['pointerdown', 'keydown', 'wheel', 'touchstart']) {
  addEventListener(kind, () => { lastUse = Date.now(); }, { passive: true, capture: true });
}
const BY_ITSELF_AFTER_MS = 60_000;

let whenLoggedOut = () => {};
export const onLoggedOut = (act) => { whenLoggedOut = act; };

/** Calls `hear(isIn)` when another tab of this browser has logged in or out. */
export const onOtherTab = (hear) => addEventListener('storage', ({ key, newValue }) => { if (key === KEY || key === null) hear(Boolean(newValue)); });

export const hasKey = () => localStorage.getItem(KEY) !== null;

/** Headers that show whose page this is; what nobody at the screen has caused keeps no session alive. */
export function headers() {
  const all = { 'lbm-panel-key': localStorage.getItem(KEY) ?? '' };
  if (Date.now() - lastUse > BY_ITSELF_AFTER_MS) all['lbm-panel-by-itself'] = '1';
  return all;
}

const away = () => new Refused({
  detail: 'The daemon does not answer.',
  remedy: 'Look whether lbm-node runs; this page goes on by itself once it does.',
  code: 'away',
});

/** Turns an answer that is a refusal into a thrown Refused. */
export async function refusal(response) {
  let problem = {};
  try { problem = await response.json(); } catch { /* no problem document: the status has to do */ }
  if (response.status === 401) {
    localStorage.removeItem(KEY);
    whenLoggedOut();
  }
  return new Refused({
    detail: sentence(problem.detail ?? `The daemon answered ${response.status}.`),
    remedy: sentence(problem.remedy ?? 'Try again; the log of the daemon says more.'),
    code: problem.code,
    status: response.status,
  });
}

const shown = (words) => words.replace(/\b12D3Koo\w{45}\b/g, called).replace(/\b[0-9a-f]{64}\b/g, short);

/** What the daemon says as a sentence of the page: members by their names, ids short, but for what is to be typed as it is. */
export const sentence = (said) => {
  if (!said) return '';
  const text = placed(said).split('`').map((part, at) => (at % 2 ? part : shown(part))).join('`');
  const first = /^[a-z]+\b(?!_)/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?`]$/.test(first) ? first : `${first}.`;
};

async function ask(method, url, body, more = {}) {
  const init = { method, headers: { ...headers(), ...more }, cache: 'no-store', credentials: 'same-origin' };
  if (method !== 'GET') {
    init.headers['content-type'] = 'application/json';
    if (body !== undefined) init.body = JSON.stringify(body);
  }
  let response;
  try { response = await fetch(url, init); } catch { throw away(); }
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** A path of the API: parts are escaped, `undefined` leaves a parameter of the query out. */
export function path(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const search = new URLSearchParams(given).toString();
  return `${PREFIX}/${parts.map(encodeURIComponent).join('/')}${search ? `?${search}` : ''}`;
}

export const get = (parts, query) => ask('GET', path(parts, query));
/** A write is named, so that one that is sent twice is done once. */
export const post = (parts, body = {}) => ask('POST', path(parts), body, { 'idempotency-key': crypto.randomUUID?.() ?? `${Math.random()}${Date.now()}` });
export const put = (parts, body) => ask('PUT', path(parts), body);
export const patch = (parts, body) => ask('PATCH', path(parts), body);
export const del = (parts) => ask('DELETE', path(parts));
/** Routes that take no body. */
export const act = (parts) => ask('POST', path(parts));

export const qr = (text) => ask('POST', '/qr', { text });
export const session = () => ask('GET', '/session');

/** Follows a link: its token stood behind the `#`, and is taken out of the address and the history. */
export async function logIn(token) {
  const opened = await ask('POST', '/session', { token });
  localStorage.setItem(KEY, opened.key);
  return opened;
}

export async function logOut() {
  try { await ask('DELETE', '/session'); } finally {
    localStorage.removeItem(KEY);
    whenLoggedOut();
  }
}
