// Who is known, how far away, why not connected; and how each group is synced with them.
import { html, useData, Await, Page, Card, Empty, Table, Badge, When, Id, Named, Act, Opens, Form, toast } from './ui.js';
import { Network } from './network.js';
import { get, post, put, patch, del } from './api.js';
import { called, learn, number, rtt, span, plural } from './words.js';
import { groupName } from './state.js';

const SOURCES = { static: 'settings', added: 'added by hand', mdns: 'found on this network', peers: 'told by others', inbound: 'it called' };

const Add = () => html`<${Opens} title="Add a peer" button="Add a peer" tone="primary">${(close) => html`<${Form} verb="Add and call it" close=${close} fields=${[
  { name: 'addr', label: 'Its full address', required: true, help: 'As lbm ctl status prints it there: /ip4/…/tcp/7337/p2p/12D3KooW…', attrs: { autofocus: true } }, { name: 'alias', label: 'A name for it here', attrs: { maxlength: 64 } }]}
  send=${({ addr, alias }) => post(['peers'], { addr: addr.trim(), alias: alias || undefined })} sent=${(added) => { close(); toast(added.connected ? 'It is connected.' : 'It is being called.'); }} />`}<//>`;

const Rename = ({ peer }) => html`<${Opens} title="Call it by another name" button="Name" tone="small" label=${`Name ${called(peer.peer_id)}`}>${(close) => html`<${Form} verb="Call it so" close=${close} fields=${[{ name: 'alias', label: 'Its name here', value: peer.alias, attrs: { maxlength: 64 } }]}
  send=${({ alias }) => patch(['peers', peer.peer_id], { alias: alias || null })} sent=${({ peer_id, alias }) => { learn(peer_id, alias); close(); toast('Changed.'); }} />`}<//>`;

const here = (peer) => (peer.connected ? html`<${Badge} tone="good">connected<//>` : html`<${Badge}>away<//>${peer.trouble && html`<br /><span class="muted">${peer.trouble}${peer.next_call_ms ? html`; called again <${When} ms=${peer.next_call_ms} />` : ''}</span>`}`);

const Peers_ = ({ peers }) => html`<${Table} label="Peers" rows=${peers} keyOf=${(one) => one.peer_id} columns=${[
  ['Peer', (one) => html`<div><${Named} id=${one.peer_id} strong=${true} /><br /><span class="muted">${one.connection?.remote ?? one.addresses[0] ?? ''}</span></div>`],
  ['State', (one) => html`<div>${here(one)}</div>`],
  ['Round trip', (one) => (one.connected ? `${rtt(one.connection?.rtt_us)} ${one.connection?.transport ?? ''}` : '–')],
  ['Seen', (one) => (one.connected ? 'now' : html`<${When} ms=${one.last_seen_ms} />`)], ['From', (one) => SOURCES[one.source] ?? one.source],
  ['Groups', (one) => one.groups.map(groupName).join(', ') || '–'],
  ['', (one) => html`<div class="row"><${Rename} peer=${one} /><${Act} tone="small danger" label=${`Forget ${called(one.peer_id)}`} run=${() => del(['peers', one.peer_id])} done="Forgotten."
    ask=${{ title: 'Forget this peer?', text: 'Its connections are closed. It comes back where it is found again, or calls.', yes: 'Forget it' }}>Forget<//></div>`, 'fit']]} />`;

function Subscription({ one, peers }) {
  const set = (to) => put(['groups', one.group_id, 'subscription'], to);
  const name = one.name ?? one.group_id.slice(0, 8);
  const paused = one.mode === 'paused';
  const members = peers.filter((peer) => peer.groups.includes(one.group_id) || one.peers.includes(peer.peer_id));
  return html`<div class="claim"><div class="row"><h3>${name}</h3><${Badge} tone=${{ live: 'good', paused: 'warn' }[one.mode] ?? ''}>${one.mode.replace('_', ' ')}<//>
      <span class="muted">every ${span(one.interval_s)} · synced <${When} ms=${one.last_sync_ms} /></span><span class="grow"></span>
      <${Act} tone="small" label=${`Sync now: ${name}`} run=${() => post(['sync'], { group: one.group_id })} done=${({ groups: [done] }) => `${done.peers_answered} of ${plural(done.peers_asked, 'peer')} answered, ${plural(done.blocks_received, 'block')} came.`}>Sync now<//>
      <${Act} tone="small" label=${`${paused ? 'Go on' : 'Pause'}: ${name}`} run=${() => set({ paused: !paused })} done=${paused ? 'It goes on.' : 'Paused: nothing is taken in until you say so.'}>${paused ? 'Go on' : 'Pause'}<//></div>
    ${members.length > 0 && html`<ul class="plain">${members.map((peer) => {
      const asked = one.peers.length === 0 || one.peers.includes(peer.peer_id);
      const failing = one.failing.find((other) => other.peer_id === peer.peer_id);
      const others = one.peers.length ? one.peers : members.map((other) => other.peer_id);
      return html`<li class="row" key=${peer.peer_id}><span>${called(peer.peer_id)}</span>
        ${failing ? html`<${Badge} tone="bad">${plural(failing.failures, 'pull')} failed<//>` : peer.connected ? html`<${Badge} tone="good">connected<//>` : html`<${Badge}>away<//>`}
        ${!asked && html`<${Badge} tone="warn">paused<//>`}<span class="grow"></span>
        ${!paused && html`<${Act} tone="small" label=${`${asked ? 'Pause peer' : 'Ask it again'}: ${called(peer.peer_id)} in ${name}`}
          run=${() => (asked && members.length === 1 ? set({ paused: true }) : asked ? set({ add_peers: others.filter((id) => id !== peer.peer_id && !one.peers.includes(id)), remove_peers: one.peers.includes(peer.peer_id) ? [peer.peer_id] : [] }) : set({ add_peers: [peer.peer_id] }))}
          done=${asked && members.length === 1 ? 'It is the only one: the group is paused.' : asked ? 'It is asked no more.' : 'It is asked again.'}>${asked ? 'Pause peer' : 'Ask it again'}<//>`}</li>`;
    })}</ul>`}</div>`;
}

export function Peers({ status }) {
  const found = useData(async () => {
    const [{ peers }, { subscriptions }, { bans }] = await Promise.all([get(['peers']), get(['subscriptions']), get(['bans'])]);
    peers.forEach((peer) => learn(peer.peer_id, peer.alias));
    return { peers, subscriptions, bans };
  }, [], (event) => /^(peer|sync|not_shared|group|member|admitted)/.test(event.type));
  const { node } = status.data;
  return html`<${Page} title="Peers" sub="Who this node syncs with, and how" actions=${html`<${Add} />`} />
    <${Await} of=${found}>${({ peers, subscriptions, bans }) => html`
      ${peers.length > 0 && html`<${Card}><${Network} node=${node} peers=${peers} /><//>`}
      <${Card} title="Address book" side=${number(peers.length)}>${peers.length ? html`<${Peers_} peers=${peers} />`
        : html`<${Empty} title="No peer is known yet"><p>Nodes of this network are found by themselves. For one beyond it, add its address, or join a group by a ticket.</p><//>`}<//>
      ${subscriptions.length > 0 && html`<${Card} title="Subscriptions">${subscriptions.map((one) => html`<${Subscription} key=${one.group_id} one=${one} peers=${peers} />`)}<//>`}
      <${Card} title="This node"><dl class="facts"><dt>Peer id</dt><dd><${Id} id=${node.node_id} what="peer id" whole=${true} /></dd>
        <dt>Listens on</dt><dd>${node.listen.map((address) => html`<div class="id" key=${address}><${Id} id=${address} what="address" whole=${true} /></div>`)}</dd></dl><//>
      ${bans.length > 0 && html`<${Card} title="Sent away"><${Table} label="Bans" rows=${bans} keyOf=${(one) => one.peer_id} columns=${[['Peer', (one) => html`<${Id} id=${one.peer_id} what="peer id" />`],
        ['Until', (one) => (one.in_force ? html`<${When} ms=${one.until_ms} />` : 'over')], ['For', (one) => one.why], ['', (one) => one.in_force && html`<${Act} tone="small" label=${`Let it back: ${called(one.peer_id)}`} run=${() => del(['bans', one.peer_id])} done="It may come back.">Let it back<//>`, 'fit']]} /><//>`}`}<//>`;
}
