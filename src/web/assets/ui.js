// What all pages are made of. Text goes into the page as text, never as markup.
import { html, useState, useEffect, useRef, useCallback } from './preact.js';
import { headers, path, refusal } from './api.js';
import { listen, lookAgain } from './live.js';
import { ago, full, called, isNamed, short } from './words.js';
import { session as role, whyNot } from './state.js';

export { html, useState, useEffect, useRef, useCallback };

const PAUSE_MS = 100;
const MOST_EVENTS = 1024;

/** What `load` gives, fetched again when an event `concerns` it, and when `deps` change; at most once in `pause` milliseconds. */
export function useData(load, deps = [], concerns = () => true, pause = PAUSE_MS) {
  const [state, setState] = useState({});
  const latest = useRef();
  latest.current = { load, concerns };
  const turn = useRef(0);
  const reload = useCallback(async () => {
    const mine = ++turn.current;
    try {
      const data = await latest.current.load();
      if (mine === turn.current) setState({ data });
    } catch (error) {
      if (mine === turn.current) setState((before) => ({ data: before.data, error }));
    }
  }, deps);
  useEffect(() => {
    setState({});
    reload();
    let timer = null;
    let last = 0;
    let missed = false;
    const due = () => {
      // A page that nobody sees looks again when it is seen.
      if (document.hidden) { missed = true; return; }
      // The first at once, and what comes close behind it in one.
      timer ??= setTimeout(() => { timer = null; last = Date.now(); reload(); }, Math.max(0, last + pause - Date.now()));
    };
    const end = listen((event) => { if (event.type === 'anew' || latest.current.concerns(event)) due(); });
    const seen = () => { if (!document.hidden && missed) { missed = false; due(); } };
    document.addEventListener('visibilitychange', seen);
    return () => { end(); clearTimeout(timer); document.removeEventListener('visibilitychange', seen); turn.current++; };
  }, [reload]);
  return { ...state, reload };
}

/** What has happened since the daemon started, as far as it still holds it: the newest first. It is fetched once, and then heard. */
export function useEvents() {
  const [events, setEvents] = useState([]);
  useEffect(() => {
    let current = true;
    const fetched = async () => {
      const answer = await fetch(path(['events'], { after: 0 }), { headers: headers(), cache: 'no-store' });
      if (!answer.ok) throw await refusal(answer);
      const lines = (await answer.text()).split('\n').filter((line) => line.startsWith('data:'));
      const held = lines.map((line) => JSON.parse(line.slice(5))).filter((event) => event.seq).reverse();
      // What was heard meanwhile is newer; what a daemon counted before it was started anew is not.
      const newest = held[0]?.at_ms ?? 0;
      if (current) setEvents((now) => [...now.filter((event) => event.at_ms >= newest && !held.some(({ seq }) => seq === event.seq)), ...held].slice(0, MOST_EVENTS));
    };
    const again = () => fetched().catch(() => {});
    const end = listen((event) => {
      if (event.type === 'anew') again();
      else if (event.seq) setEvents((now) => [event, ...now].slice(0, MOST_EVENTS));
    });
    again();
    return () => { current = false; end(); };
  }, []);
  return events;
}

/** Pages of a listing, one behind the other; an event fetches again as many rows as are shown. */
export function usePages(load, rowsOf, deps, concerns, step = 50) {
  const [want, setWant] = useState(step);
  useEffect(() => setWant(step), deps);
  const found = useData(async () => {
    let rows = [];
    let cursor;
    let rest = {};
    do {
      const page = await load({ limit: Math.min(want - rows.length, 500), cursor });
      rows = rows.concat(rowsOf(page));
      cursor = page.next_cursor;
      rest = page;
    } while (cursor && rows.length < want);
    return { rows, more: Boolean(cursor), rest };
  }, [...deps, want], concerns);
  // While more is fetched, what is there stays.
  const kept = useRef();
  if (found.data) kept.current = { key: JSON.stringify(deps), data: found.data };
  const data = found.data ?? (kept.current?.key === JSON.stringify(deps) ? kept.current.data : undefined);
  return { ...found, data, more: () => setWant((now) => now + step) };
}

export const More = ({ pages, what }) => pages.data?.more
  && html`<p class="more"><button class="btn" onClick=${pages.more}>Show more ${what}</button></p>`;

/** What was found, or why not, or that it is on its way. */
export function Await({ of, children }) {
  if (of.data === undefined && of.error) return html`<${Trouble} error=${of.error} again=${of.reload} />`;
  if (of.data === undefined) return html`<div class="skeleton" role="status"><span class="sr">Loading</span></div>`;
  return html`${of.error && html`<${Trouble} error=${of.error} again=${of.reload} />`}${children(of.data)}`;
}

export const Trouble = ({ error, again }) => html`<div class="note bad" role="alert">
  <p><strong>${error.message}</strong> ${error.remedy}</p>
  ${again && html`<button class="btn" onClick=${again}>Try again</button>`}</div>`;

export const Empty = ({ title, children }) => html`<div class="empty"><p><strong>${title}</strong></p>${children}</div>`;

export const Page = ({ title, sub, actions, children }) => html`
  <header class="page"><div><h1 tabindex="-1">${title}</h1>${sub && html`<p class="muted">${sub}</p>`}</div>
  <div class="actions">${actions}</div></header>${children}`;

export const Card = ({ title, side, children, cls = '' }) => html`<section class=${`card ${cls}`}>
  ${title && html`<header><h2>${title}</h2>${side && html`<div class="side">${side}</div>`}</header>`}${children}</section>`;

export const Badge = ({ tone = '', children }) => html`<span class=${`badge ${tone}`}>${children}</span>`;
export const When = ({ ms }) => html`<time datetime=${ms ? new Date(ms).toISOString() : ''} title=${full(ms)}>${ago(ms)}</time>`;
export const Who = ({ id }) => html`<span class="who" title=${id}>${called(id)}</span>`;
/** A member by its name, where one is known, and its id, which can be copied. */
export const Named = ({ id, strong = false }) => html`${isNamed(id) && html`<span class=${strong ? 'who strong' : 'who'}>${called(id)}</span> `}<${Id} id=${id} what="peer id" />`;
export const Final = ({ is }) => html`<${Badge} tone=${is ? 'good' : ''}>${is ? 'final' : 'pending'}<//>`;

/** An id, short, with a button that copies the whole of it. */
export const Id = ({ id, what = 'id', whole = false }) => html`<span class="id"><code title=${id}>${whole ? id : short(id)}</code>
  <button class="icon" aria-label=${`Copy the ${what} ${short(id)}`} onClick=${() => copy(id, what)}><${Glyph} name="copy" /></button></span>`;

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied the ${what}.`);
  } catch {
    toast(`The browser does not let the ${what} be copied: mark it and copy it by hand.`, 'warn');
  }
}

const PATHS = {
  copy: 'M5 5V2.5h8.5V11H11M2.5 5H11v8.5H2.5z', close: 'M4 4l8 8M12 4l-8 8', menu: 'M2 4h12M2 8h12M2 12h12',
  sun: 'M8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.4 1.4M11.6 11.6 13 13M13 3l-1.4 1.4M4.4 11.6 3 13M5 8a3 3 0 1 0 6 0 3 3 0 0 0-6 0',
  moon: 'M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z', auto: 'M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12', out: 'M6 2H2.5v12H6M10 5l3 3-3 3M13 8H6',
};
export const Glyph = ({ name }) => html`<svg class="glyph" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

/** A table; on a narrow screen each row is a card. Columns: `[head, cell(row), class]`. */
export const Table = ({ label, columns, rows, keyOf }) => html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
  <table><thead><tr>${columns.map(([head, , cls]) => html`<th scope="col" class=${cls ?? ''}>${head || html`<span class="sr">Actions</span>`}</th>`)}</tr></thead>
  <tbody>${rows.map((row) => html`<tr key=${keyOf(row)}>${columns.map(([head, cell, cls]) => html`<td class=${cls ?? ''} data-label=${head}><div>${cell(row)}</div></td>`)}</tr>`)}</tbody></table></div>`;

/** A button that does something, and says what came of it. Where `why` says why not, it is off. */
export function Act({ run, done, tone = '', children, label, ask, why = whyNot() }) {
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const go = async () => {
    setAsking(false);
    setBusy(true);
    try {
      const answer = await run();
      lookAgain();
      if (done) toast(typeof done === 'function' ? done(answer) : done);
    } catch (error) {
      toast(`${error.message} ${error.remedy ?? ''}`, 'bad');
    } finally {
      setBusy(false);
    }
  };
  return html`<button class=${`btn ${tone}`} aria-label=${label} disabled=${busy || Boolean(why)}
    title=${why ?? undefined} onClick=${ask ? () => setAsking(true) : go}>${children}</button>
    ${asking && html`<${Dialog} title=${ask.title} close=${() => setAsking(false)}><p>${ask.text}</p>
      <div class="actions end"><button class="btn" onClick=${() => setAsking(false)}>Keep it as it is</button>
      <button class=${`btn ${tone || 'primary'}`} onClick=${go}>${ask.yes}</button></div><//>`}`;
}

/** A button with a menu: `[word, run]` each. Arrows move in it, Escape closes it. */
export function Menu({ label, button, items }) {
  const [list, opener] = [useRef(), useRef()];
  const toggle = (event) => {
    if (event.newState !== 'open') return;
    const at = opener.current.getBoundingClientRect();
    const { style, offsetWidth, offsetHeight } = list.current;
    style.left = `${Math.max(8, Math.min(at.left, innerWidth - offsetWidth - 8))}px`;
    style.top = `${at.bottom + offsetHeight + 8 > innerHeight ? Math.max(8, at.top - offsetHeight - 4) : at.bottom + 4}px`;
    list.current.querySelector('button').focus();
  };
  const keys = (event) => {
    const all = [...list.current.querySelectorAll('button')];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { event.preventDefault(); all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus(); }
    if (event.key === 'Tab') list.current.hidePopover();
  };
  return html`<button ref=${opener} class="btn small" aria-haspopup="menu" aria-label=${label} onClick=${() => list.current.togglePopover()}>${button}</button>
    <div ref=${list} popover="auto" role="menu" aria-label=${label} class="menu-list" onToggle=${toggle} onKeyDown=${keys}>${items.map(([word, run]) => html`
      <button role="menuitem" key=${word} onClick=${() => { list.current.hidePopover(); opener.current.focus(); run(); }}>${word}</button>`)}</div>`;
}

/** A window above the page. It keeps the focus, and Escape closes it. */
export function Dialog({ title, close, children, wide = false }) {
  const node = useRef();
  useEffect(() => {
    // Closing it gives the focus back to where it was.
    const dialog = node.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return html`<dialog ref=${node} class=${wide ? 'wide' : ''} aria-label=${title} onCancel=${(event) => { event.preventDefault(); close(); }}>
    <header><h2 dir="auto">${title}</h2><button class="icon" aria-label="Close" onClick=${close}><${Glyph} name="close" /></button></header>${children}</dialog>`;
}

/** A form. Fields: `{name, label, type, help, value, options, required, rows, attrs}`, or `control` for what is made of several. What is refused is said above the buttons. */
export function Form({ fields, send, verb, sent, close, tone = 'primary' }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const given = Object.fromEntries(fields.map(({ name, type }) => {
      const field = form.elements[name];
      return [name, type === 'checkbox' ? field.checked : type === 'number' ? (field.value === '' ? undefined : Number(field.value)) : field.value];
    }));
    setBusy(true);
    setError(null);
    try {
      const answer = await send(given);
      form.reset();
      lookAgain();
      sent?.(answer);
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return html`<form onSubmit=${submit} autocomplete="off">${fields.map((field) => html`<${Field} key=${field.name} ...${field} />`)}
    ${error && html`<div class="note bad" role="alert"><p><strong>${error.message}</strong> ${error.remedy ?? ''}</p></div>`}
    <div class="actions end">${close && html`<button type="button" class="btn" onClick=${close}>Cancel</button>`}
    <button class=${`btn ${tone}`} disabled=${busy || role.viewer} title=${whyNot() ?? undefined}>${verb}</button></div></form>`;
}

let fieldNumber = 0;
function Field({ name, label, type = 'text', help, value, options, required, rows, control, attrs = {} }) {
  const [id] = useState(() => `f${++fieldNumber}`);
  const common = { id, name, required, 'aria-describedby': help ? `${id}h` : undefined, ...attrs };
  const input = control ? control(common) : options ? html`<select ...${common}>${options.map(([is, words]) => html`<option value=${is} selected=${is === value}>${words}</option>`)}</select>`
    : rows ? html`<textarea ...${common} dir="auto" rows=${rows}>${value ?? ''}</textarea>`
    : type === 'checkbox' ? html`<input ...${common} type="checkbox" defaultChecked=${value} />`
    : html`<input dir=${type === 'text' ? 'auto' : undefined} ...${type === 'number' ? { max: Number.MAX_SAFE_INTEGER, inputmode: 'numeric' } : {}} ...${common} type=${type} defaultValue=${value ?? ''} />`;
  return html`<div class=${`field ${type}`}><label for=${id}>${label}${required ? '' : type === 'checkbox' || options ? '' : html` <span class="muted">optional</span>`}</label>
    ${input}${help && html`<p class="help" id=${`${id}h`}>${help}</p>`}</div>`;
}

/** A button that opens a dialog; `children(close)` is what stands in it. */
export function Opens({ title, button, tone = '', children, wide, label, why = whyNot() }) {
  const [open, setOpen] = useState(false);
  const close = () => setOpen(false);
  return html`<button class=${`btn ${tone}`} aria-label=${label} aria-haspopup="dialog" disabled=${Boolean(why)} title=${why ?? undefined} onClick=${() => setOpen(true)}>${button}</button>
    ${open && html`<${Dialog} title=${title} close=${close} wide=${wide}>${children(close)}<//>`}`;
}

const toasts = new Set();
let toastNumber = 0;
/** Says something in a corner, and to a screen reader. */
export function toast(text, tone = 'good') {
  toasts.forEach((show) => show({ text, tone, id: ++toastNumber }));
}

export function Toasts() {
  const [all, setAll] = useState([]);
  const node = useRef();
  // Shown anew it stands above a dialog that was opened meanwhile.
  useEffect(() => {
    if (node.current.matches(':popover-open')) node.current.hidePopover();
    if (all.length) node.current.showPopover();
  }, [all]);
  useEffect(() => {
    const drop = (id) => setAll((now) => now.filter((one) => one.id !== id));
    const show = (one) => {
      setAll((now) => [...now.filter((other) => other.text !== one.text).slice(-3), one]);
      setTimeout(() => drop(one.id), one.tone === 'bad' ? 12000 : 5000);
    };
    toasts.add(show);
    return () => toasts.delete(show);
  }, []);
  return html`<div ref=${node} class="toasts" popover="manual" role="status" aria-live="polite">${all.map((one) => html`<div key=${one.id} class=${`toast ${one.tone}`}><span>${one.text}</span>
    <button class="icon" aria-label="Close" onClick=${() => setAll((now) => now.filter((other) => other.id !== one.id))}><${Glyph} name="close" /></button></div>`)}</div>`;
}
