// The frame around the pages: who is logged in, which page is shown, which group it is about.
import { html, render } from './preact.js';
import * as api from './api.js';
import * as live from './live.js';
import { useState, useEffect, useData, Toasts, Trouble, Glyph, Act, Page, Card, Empty } from './ui.js';
import { session, groups, hosted, isOut, whyNot, whyOut, link } from './state.js';
import { learn } from './words.js';
import { Overview, begin } from './overview.js';

// Each page is fetched when it is first shown.
const lazy = (file, name) => async () => (await import(file))[name];
const PAGES = {
  knowledge: ['Knowledge', lazy('./knowledge.js', 'Knowledge'), true],
  tasks: ['Tasks', lazy('./tasks.js', 'Tasks'), true],
  presence: ['Presence', lazy('./presence.js', 'Presence'), true],
  group: ['Group', lazy('./group.js', 'Group'), true],
  tokens: ['Tokens', lazy('./tokens.js', 'Tokens'), true],
  market: ['Market', lazy('./market.js', 'Market')],
  peers: ['Peers', lazy('./peers.js', 'Peers')],
  agents: ['Agents', lazy('./agents.js', 'Agents')],
  events: ['Events', lazy('./node.js', 'Events')],
  settings: ['Settings', lazy('./node.js', 'Settings')],
};
const loaded = {};

const plain = (part) => { try { return decodeURIComponent(part); } catch { return part; } };
const route = () => {
  const [page = '', ...rest] = location.hash.replace(/^#\/?/, '').split('/').map(plain);
  return { page, rest };
};

function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem('lbm-theme') ?? 'auto');
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem('lbm-theme', theme);
  }, [theme]);
  const next = { auto: 'light', light: 'dark', dark: 'auto' }[theme];
  return html`<button class="icon" aria-label=${`Colours: ${theme}; change to ${next}`} title=${`Colours: ${theme}`} onClick=${() => setTheme(next)}>
    <${Glyph} name=${{ auto: 'auto', light: 'sun', dark: 'moon' }[theme]} /></button>`;
}

function Connection() {
  const [state, setState] = useState('connecting');
  useEffect(() => live.onState(setState), []);
  const words = { live: 'Live', connecting: 'Connecting…', away: 'The daemon is away' }[state];
  return html`<span class=${`connection ${state}`} role="status"><i></i>${words}</span>`;
}

function Login({ note }) {
  return html`<main class="lone"><h1>LBM</h1><p>${note ?? 'Nobody is logged in here.'}</p>
    <p>On this machine, run</p><pre><code>lbm ctl admin url</code></pre><p>and open the link that it prints. It works once.</p></main>`;
}

/** A group of which nothing is here yet. */
const Joining = ({ group }) => html`<${Page} title=${group.name ?? 'A group'} sub=${group.agent && `for the agent ${group.agent}`}
    actions=${html`<${Act} tone="danger" run=${() => api.post(['groups', group.group_id, 'leave']).then(() => { location.hash = '#/'; })} done="This node asks no more.">Stop asking<//>`} />
  <${Card}><${Empty} title=${group.refused ? 'A member has said no' : 'It is being joined'}>
    <p>${group.refused ? `It says ${group.refused.replaceAll('_', ' ')}. Ask an admin for a new ticket, and join again.` : 'No member has answered yet, or its blocks are on their way.'} <a href="#/peers">Look at the peers</a>.</p><//><//>`;

const askFrame = () => Promise.all([api.get(['status']), api.get(['groups']), api.get(['peers']), api.get(['agents']), session.role ? session : api.session()]);
/** The first of these questions, which is on its way before the frame is drawn. */
let framed = null;

function Shell() {
  const [at, setAt] = useState(route());
  const [menu, setMenu] = useState(false);
  const [View, setView] = useState(null);
  const [failed, setFailed] = useState(null);
  const status = useData(async () => {
    const asked = framed ?? askFrame();
    framed = null;
    const [node, list, peers, { agents }, { role }] = await asked;
    session.role = role;
    session.viewer = role === 'viewer';
    agents.forEach((agent) => learn(agent.member_id, agent.agent));
    learn(node.node_id, node.name);
    peers.peers.forEach((peer) => learn(peer.peer_id, peer.alias));
    hosted.clear();
    agents.forEach((agent) => agent.groups.forEach((group) => hosted.add(group.group_id)));
    groups.clear();
    list.groups.forEach((group) => groups.set(group.group_id, group));
    return { node, groups: list.groups, peers: peers.peers };
  }, [], (event) => /^(group|peer|admitted|member_changed)/.test(event.type));

  useEffect(() => {
    const moved = () => { setAt(route()); setMenu(false); };
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  useEffect(() => {
    let current = true;
    setFailed(null);
    if (!PAGES[at.page]) setView(null);
    else if (loaded[at.page]) setView(() => loaded[at.page]);
    else PAGES[at.page][1]().then((view) => { loaded[at.page] = view; if (current) setView(() => view); }, (error) => current && setFailed(error));
    document.title = `${PAGES[at.page]?.[0] ?? 'Overview'} · LBM`;
    return () => { current = false; };
  }, [at.page]);
  useEffect(() => { if (at.page) document.querySelector('main h1')?.focus({ preventScroll: true }); }, [at.page, View]);

  const known = status.data?.groups ?? [];
  const remembered = localStorage.getItem('lbm-group');
  const inGroup = PAGES[at.page]?.[2];
  // An address of a group that is not known here: it may have come a moment ago, and is never another one.
  const unknown = inGroup && status.data && at.rest[0] && !known.some(({ group_id }) => group_id === at.rest[0]) ? at.rest[0] : null;
  const [sought, setSought] = useState(null);
  useEffect(() => {
    let here = true;
    if (unknown) status.reload().then(() => here && setSought(unknown));
    return () => { here = false; };
  }, [unknown]);
  const current = (inGroup && known.find(({ group_id }) => group_id === at.rest[0])) || known.find(({ group_id }) => group_id === remembered) || known[0];
  useEffect(() => { if (current) localStorage.setItem('lbm-group', current.group_id); }, [current?.group_id]);
  const go = (id) => { location.hash = link(inGroup ? at.page : 'group', id); localStorage.setItem('lbm-group', id); };
  const item = (page, [words, , ofGroup]) => html`<a href=${link(page, ...(ofGroup ? [current.group_id] : []))} aria-current=${at.page === page ? 'page' : undefined}>${words}</a>`;
  const pages = Object.entries(PAGES);
  const shown = PAGES[at.page] ? View === loaded[at.page] && View : Overview;

  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector('main h1')?.focus(); }}>To the page</a>
    <header class="top">
      <button class="icon menu" aria-label="Menu" aria-expanded=${menu} aria-controls="nav" onClick=${() => setMenu(!menu)}><${Glyph} name="menu" /></button>
      <a class="brand" href="#/"><img src="/assets/icon.svg" alt="" width="22" height="22" />${status.data?.node.name ?? 'LBM'}</a>
      <${Connection} />
      ${session.viewer && html`<span class="badge">look only</span>`}
      <div class="grow"></div>
      <${Theme} />
      <${Act} why=${null} tone="icon" label="Log out" run=${api.logOut}><${Glyph} name="out" /><//>
    </header>
    <nav id="nav" class=${menu ? 'open' : ''} aria-label="Pages">
      <a href="#/" aria-current=${at.page === '' ? 'page' : undefined}>Overview</a>
      ${known.length > 0 && html`<label class="pick"><span>Group</span><select value=${current?.group_id} onChange=${(event) => go(event.target.value)}>
        ${known.map((group) => html`<option value=${group.group_id} selected=${group.group_id === current?.group_id}>${group.name ?? `joining ${group.group_id.slice(0, 8)}`}</option>`)}</select></label>
        ${pages.filter(([, page]) => page[2]).map(([name, page]) => item(name, page))}`}
      <p class="nav-head">Node</p>
      ${pages.filter(([, page]) => !page[2]).map(([name, page]) => item(name, page))}
    </nav>
    <main id="main">
      ${failed && html`<${Trouble} error=${{ message: 'This page could not be fetched.', remedy: 'Look whether the daemon runs, and load the page anew.' }} again=${() => location.reload()} />`}
      ${!status.data && html`<h1 class="sr">LBM</h1>`}
      ${status.error && !status.data && html`<${Trouble} error=${status.error} again=${status.reload} />`}
      ${inGroup && !unknown && current && isOut(current) && html`<p class="note bad" role="alert"><span><strong>This node is no member of ${current.name} any more: ${whyOut(current)[0]}.</strong>
        What it has can be read, and nothing can be written. ${whyOut(current)[1]}; or <a href=${link('group', current.group_id)}>leave the group</a>.
        ${status.data.node.stranded_blocks > 0 && html`<a href="#/events/stranded">What it wrote, and the group may not have</a>`}</span></p>`}
      ${inGroup && !unknown && current && !isOut(current) && !session.viewer && whyNot(current) && html`<p class="note" role="status"><span>${whyNot(current)}. An admin of the group can change that.</span></p>`}
      ${shown && status.data && (unknown ? sought === unknown && html`<${Page} title="No such group" /><${Card}><${Empty} title="This node has no such group, or has left it">
          <p>Choose another at the side, or <a href="#/">join one by a ticket</a>.</p><//><//>` : inGroup && !current ? html`<${Overview} status=${status} />`
        : inGroup && current.joining ? html`<${Joining} group=${current} />` : html`<${shown} key=${`${at.page}/${inGroup ? current.group_id : ''}`} status=${status} group=${current} rest=${inGroup ? at.rest.slice(1) : at.rest} />`)}
    </main>
    <${Toasts} />`;
}

function App() {
  const [state, setState] = useState(entered);
  useEffect(() => {
    const out = () => { live.stop(); session.role = undefined; setState({ now: 'out' }); };
    api.onLoggedOut(out);
    if (state.now === 'checking') enter().then(setState);
    // The first answers may have been here before this was.
    else if (!api.hasKey()) out();
    // A link that is opened in a tab that is here already changes what stands behind the `#`, and fetches no page.
    addEventListener('hashchange', () => { if (linkIn(location.hash)) location.reload(); });
    // Whoever logs out or in does so for all tabs.
    api.onOtherTab((isIn) => { out(); if (isIn) enter().then(setState); });
  }, []);
  if (state.now === 'checking') return null;
  return state.now === 'in' ? html`<${Shell} />` : html`<${Login} note=${state.note} />`;
}

const linkIn = (hash) => /^#login=([\w-]+)$/.exec(hash)?.[1];

async function enter() {
  const token = linkIn(location.hash);
  try {
    if (token) {
      history.replaceState(null, '', '/');
      session.role = (await api.logIn(token)).role;
    }
  } catch (error) {
    return { now: 'out', note: `${error.message} ${error.remedy}` };
  }
  if (!api.hasKey()) return { now: 'out' };
  return goIn();
}

/** Where the daemon is away, or the session over, the first request says so. */
function goIn() {
  live.start();
  framed = askFrame();
  framed.catch(() => {});
  // Behind what the frame asks, which shows first.
  if (!route().page) begin();
  return { now: 'in' };
}

document.documentElement.dataset.theme = localStorage.getItem('lbm-theme') ?? 'auto';
const entered = api.hasKey() && !linkIn(location.hash) ? goIn() : { now: 'checking' };
render(html`<${App} />`, document.getElementById('app'));
