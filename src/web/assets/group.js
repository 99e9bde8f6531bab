// The group: who is in it and as what, who asks to be, tickets, the policy, how it is synced.
import { html, useState, useData, useEffect, Await, Page, Card, Table, Badge, When, Id, Named, Act, Opens, Form, Menu, toast, copy } from './ui.js';
import { get, post, put, patch, del, act, qr } from './api.js';
import { whyNot } from './state.js';
import { number, full, learn, called } from './words.js';

const ROLES = [['member', 'Member: reads and writes'], ['viewer', 'Viewer: reads'], ['admin', 'Admin: manages']];
const POLICY = [
  ['faucet_amount', 'Tokens for a new member'], ['claim_reward_amount', 'Tokens for a new claim'], ['transfer_fee_bps', 'Fee of a transfer, hundredths of a percent'],
  ['max_total_supply', 'Most tokens there may be, 0 for no bound'], ['max_account_balance', 'Most tokens of one account, 0 for no bound'],
];
const POLICY_HELP = { transfer_fee_bps: '100 is one percent; at most 5000. It goes to the treasury' };

function Code({ text }) {
  const [rows, setRows] = useState(null);
  useEffect(() => { qr(text.toUpperCase()).then((code) => setRows(code.rows), () => {}); }, [text]);
  if (!rows) return null;
  const size = rows.length + 8;
  return html`<svg class="qr" viewBox=${`0 0 ${size} ${size}`} role="img" aria-label="The ticket as a QR code" shape-rendering="crispEdges">
    <path fill="#000" d=${rows.flatMap((row, y) => [...row].map((bit, x) => (bit === '1' ? `M${x + 4} ${y + 4}h1v1h-1z` : ''))).join('')} /></svg>`;
}

function Invite({ group }) {
  const [made, setMade] = useState(null);
  return html`<${Opens} title="Invite a machine or an agent" button="Invite" tone="primary">${(close) => (made ? html`
    <p>Who has this ticket comes in as ${made.role}. It lets ${made.uses === 1 ? 'one' : number(made.uses)} in, until ${full(made.expires_ms)}. <strong>It is shown this once.</strong></p>
    <p><${Code} text=${made.ticket} /></p><pre class="text" tabindex="0" data-ticket>${made.ticket}</pre>
    <p class="help">There: <code>lbm ctl group join TICKET</code>, or Overview, Join by a ticket.</p>
    <div class="actions end"><button class="btn" onClick=${() => copy(made.ticket, 'ticket')}>Copy the ticket</button>
    <button class="btn primary" onClick=${() => { setMade(null); close(); }}>Done</button></div>` : html`
    <${Form} verb="Make a ticket" close=${close} fields=${[{ name: 'role', label: 'As what', options: ROLES },
      { name: 'uses', label: 'How many it lets in', type: 'number', value: 1, required: true, attrs: { min: 1, max: 1000 } },
      { name: 'hours', label: 'For how many hours', type: 'number', value: 24, required: true, attrs: { min: 1, max: 720 } }]}
      send=${({ role, uses, hours }) => post(['groups', group.group_id, 'invites'], { role, uses, life_ms: hours * 3_600_000 })} sent=${setMade} />`)}<//>`;
}

const AddMember = ({ group }) => html`<${Opens} title="Add a member" button="Add a member">${(close) => html`<${Form} verb="Add" close=${close} fields=${[
  { name: 'member', label: 'Its peer id', required: true, help: 'As its status page or lbm ctl status prints it: 12D3KooW…' }, { name: 'role', label: 'As what', options: ROLES }]}
  send=${(given) => post(['groups', group.group_id, 'members'], given)} sent=${() => { close(); toast('Added.'); }} />`}<//>`;

const setRole = (at, role) => put(at, { role }).then(() => toast('Changed.'), (error) => toast(`${error.message} ${error.remedy}`, 'bad'));

function Members({ group, detail, members, admin }) {
  const at = (member) => ['groups', group.group_id, 'members', member.member_id];
  return html`<${Card} title="Members" side=${number(members.length)}><${Table} label="Members" rows=${members} keyOf=${(one) => one.member_id} columns=${[
    ['Member', (one) => html`<${Named} id=${one.member_id} />${one.is_self ? html` <${Badge} tone="accent">this node<//>` : ''}`],
    ['Role', (one) => html`<${Badge}>${one.role}<//>${detail.notary === one.member_id ? html` <${Badge} tone="accent">notary<//>` : ''}${detail.frozen.includes(one.member_id) ? html` <${Badge} tone="bad">frozen<//>` : ''}`],
    ['Here', (one) => html`<${Badge} tone=${one.connected ? 'good' : ''}>${one.connected ? 'connected' : 'away'}<//>`],
    ['Since', (one) => html`<${When} ms=${one.added_ms} />`],
    ['', (one) => admin && html`<div class="row">${detail.frozen.includes(one.member_id) && html`<${Act} tone="small" run=${() => act([...at(one), 'unfreeze'])} done="It may spend again.">Unfreeze<//>`}
      <${Menu} label=${`Role of ${called(one.member_id)}`} button="Role" items=${ROLES.filter(([role]) => role !== one.role).map(([role, words]) => [words, () => setRole(at(one), role)])} />
      <${Act} tone="small danger" label=${`Remove ${called(one.member_id)}`} run=${() => del(at(one))} done="Removed." ask=${{ title: 'Remove this member?', text: `${called(one.member_id)} reads nothing new from then on. What it wrote stays.`, yes: 'Remove' }}>Remove<//></div>`, 'fit'],
  ]} /><//>`;
}

const Requests = ({ requests }) => requests.length > 0 && html`<${Card} title="Requests to be let in" side=${number(requests.length)}><${Table} label="Requests" rows=${requests} keyOf=${(one) => one.member_id} columns=${[
  ['Who', (one) => html`<strong>${one.name}</strong> <${Id} id=${one.member_id} what="peer id" />`],
  ['Says', (one) => one.note ?? ''], ['Asked', (one) => html`<${When} ms=${one.came_ms} />`],
  ['', (one) => html`<div class="row"><${Act} tone="small primary" label=${`Approve ${one.name}`} run=${() => post(['groups', one.group_id, 'join-requests', one.member_id, 'approve'], { role: 'member' })} done=${`${one.name} is a member.`}>Approve<//>
    <${Act} tone="small" label=${`Deny ${one.name}`} run=${() => act(['groups', one.group_id, 'join-requests', one.member_id, 'deny'])} done="Denied.">Deny<//></div>`, 'fit']]} /><//>`;

const Tickets = ({ invites, group }) => invites.length > 0 && html`<${Card} title="Tickets"><${Table} label="Tickets" rows=${invites} keyOf=${(one) => one.ticket_id} columns=${[
  ['Ticket', (one) => html`<code>${one.ticket_id.slice(0, 10)}</code>`], ['As', (one) => one.role], ['Left', (one) => `${one.uses_left} of ${one.uses}`],
  ['Until', (one) => html`<${When} ms=${one.expires_ms} />`], ['Stands', (one) => html`<${Badge} tone=${one.state === 'open' ? 'good' : ''}>${one.state.replace('_', ' ')}<//>`],
  ['', (one) => one.state === 'open' && html`<${Act} tone="small" label=${`End the ticket ${one.ticket_id.slice(0, 10)}`} run=${() => del(['groups', group.group_id, 'invites', one.ticket_id])} done="The ticket is over.">End<//>`, 'fit']]} /><//>`;

const Policy = ({ group, stats, admin }) => html`<${Card} title="Policy" side=${admin && html`<${Opens} title="Change the policy" button="Change" tone="small" label="Change the policy">${(close) => html`
    <${Form} verb="Change" close=${close} fields=${[...POLICY.map(([name, label]) => ({ name, label, type: 'number', value: stats[name], required: true, help: POLICY_HELP[name], attrs: { min: 0, ...(name === 'transfer_fee_bps' && { max: 5000 }) } })), { name: 'listed', label: 'Show the group to peers that are no members', type: 'checkbox', value: stats.listed }]}
      send=${async (given) => {
        const changed = Object.entries(given).filter(([name, value]) => value !== stats[name]);
        return changed.length > 0 && patch(['groups', group.group_id, 'policy'], Object.fromEntries(changed));
      }} sent=${(changed) => { close(); if (changed) toast('Changed.'); }} />`}<//>`}>
  <dl class="facts">${POLICY.map(([name, label]) => html`<dt>${label}</dt><dd>${number(stats[name])}</dd>`)}<dt>Shown to others</dt><dd>${stats.listed ? 'yes' : 'no'}</dd></dl><//>`;

export function Group({ group, status }) {
  const id = group.group_id;
  const found = useData(async () => {
    const at = (...more) => get(['groups', id, ...more]);
    const [detail, { members }, stats, { requests }, { invites }] = await Promise.all([
      at(), at('members'), at('stats'), get(['join-requests'], { group: id }), at('invites').catch(() => ({ invites: [] }))]);
    members.forEach((member) => learn(member.member_id, member.name));
    return { detail, members, stats, requests, invites };
  }, [id], (event) => event.group_id === id && !/^(presence|sync|claim|task)/.test(event.type));
  const peers = useData(() => get(['peers']), [], (event) => event.type.startsWith('peer'));
  return html`${!found.data && html`<h1 tabindex="-1">${group.name}</h1>`}<${Await} of=${found}>${({ detail, members, stats, requests, invites }) => {
    const admin = detail.role === 'admin';
    const live = new Set(peers.data?.peers.filter((peer) => peer.connected).map((peer) => peer.peer_id));
    const shown = members.map((one) => ({ ...one, connected: one.connected || live.has(one.member_id) }));
    return html`<${Page} title=${detail.name} sub=${html`${capital(detail.role)} · created <${When} ms=${detail.created_ms} /> · <${Id} id=${id} what="group id" />`}
        actions=${html`${admin && html`<${Invite} group=${group} /><${AddMember} group=${group} />`}
          <${Act} tone="danger" run=${() => post(['groups', id, 'leave']).then(() => { location.hash = '#/'; })} done="This node has left the group."
            ask=${{ title: `Leave ${detail.name}?`, text: 'This node replicates the group no longer. Other members keep all of it.', yes: 'Leave' }}>Leave<//>`} />
      ${detail.unsure && html`<p class="note bad" role="alert">This node may not know its own last block here, and writes nothing until members have answered.</p>`}
      <dl class="stats">${[['Members', stats.members], ['Claims', stats.claims], ['Blocks', stats.blocks], ['Final', stats.final_blocks], ['Refused', stats.rejected_blocks], ['Seals', detail.epoch]].map(([words, n]) => html`<div><dt>${words}</dt><dd>${number(n)}</dd></div>`)}</dl>
      <${Requests} requests=${requests} /><${Members} group=${group} detail=${detail} members=${shown} admin=${admin} />
      <div class="grid"><${Policy} group=${group} stats=${stats} admin=${admin} /><${Tickets} invites=${invites} group=${group} /></div>`;
  }}<//>`;
}

const capital = (word) => (word ? word[0].toUpperCase() + word.slice(1) : 'No member');
