// The agents that this node hosts: made, ended, bounded in what they spend.
import { html, useData, useState, Await, Page, Card, Empty, Table, Badge, When, Id, Act, Opens, Form, Dialog, toast, copy } from './ui.js';
import { get, post, put, act } from './api.js';
import { groups, isOut } from './state.js';
import { number, learn } from './words.js';

const Create = () => html`<${Opens} title="Make an agent" button="Make an agent" tone="primary">${(close) => html`<${Form} verb="Make it" close=${close} fields=${[
  { name: 'name', label: 'Name', required: true, help: 'a-z, 0-9, _ and -', attrs: { maxlength: 32, autofocus: true } },
  { name: 'group', label: 'Group', options: [['', 'none for now'], ...[...groups.values()].filter((group) => !group.joining && !isOut(group)).map((group) => [group.group_id, group.name])] },
  { name: 'role', label: 'As what', options: [['member', 'member'], ['viewer', 'viewer'], ['admin', 'admin']] },
  { name: 'spend_limit', label: 'Tokens that it may spend in a day', type: 'number', help: 'Above it a person approves', attrs: { min: 0 } }]}
  send=${({ name, group, role, spend_limit }) => post(['agents'], { name, group: group || undefined, role: group ? role : undefined, spend_limit })}
  sent=${(made) => { close(); learn(made.member_id, made.agent); toast(made.next ?? `${made.agent} is ready.`); }} />`}<//>`;

const Limit = ({ agent }) => html`<${Opens} title=${`What ${agent.agent} may spend`} button="Limit" tone="small" label=${`Limit ${agent.agent}`}>${(close) => html`<${Form} verb="Set" close=${close}
  fields=${[{ name: 'per_day', label: 'Tokens in any 24 hours', type: 'number', value: agent.spend_limit ?? '', help: 'Empty for no limit', attrs: { min: 0 } }]}
  send=${({ per_day }) => put(['agents', agent.agent, 'spending-limit'], { per_day })} sent=${() => { close(); toast('Set.'); }} />`}<//>`;

function Token({ agent }) {
  const [token, setToken] = useState(null);
  return html`<${Act} tone="small" label=${`New token of ${agent.agent}`} run=${async () => setToken((await act(['agents', agent.agent, 'token'])).token)}
      ask=${agent.has_token ? { title: 'A new token?', text: 'The one that it has is dead from then on.', yes: 'Make a new one' } : undefined}>Token<//>
    ${token && html`<${Dialog} title=${`Token of ${agent.agent}`} close=${() => setToken(null)}><p>It is shown this once. A client over HTTP sends it as <code>Authorization: Bearer …</code>.</p><pre class="text" tabindex="0">${token}</pre>
      <div class="actions end"><button class="btn primary" onClick=${() => copy(token, 'token')}>Copy</button></div><//>`}`;
}

export function Agents() {
  const found = useData(async () => {
    const list = await get(['agents']);
    list.agents.forEach((agent) => learn(agent.member_id, agent.agent));
    return list;
  }, [], (event) => /^(member|claim|tokens|task|purchase|admitted)/.test(event.type));
  return html`<${Page} title="Agents" sub="Each has a key, groups and tokens of its own" actions=${html`<${Create} />`} />
    <${Card}><${Await} of=${found}>${({ agents }) => (agents.length ? html`<${Table} label="Agents" rows=${agents} keyOf=${(one) => one.member_id} columns=${[
      ['Agent', (one) => html`<div><strong>${one.agent}</strong> <${Id} id=${one.member_id} what="peer id" /></div>`],
      ['Groups', (one) => html`<div>${one.groups.map((group) => html`<div key=${group.group_id}>${group.name} <${Badge}>${group.role}<//> <span class="muted">${number(group.balance)} tokens</span></div>`)}${one.groups.length === 0 && '–'}</div>`],
      ['A day', (one) => (one.spend_limit == null ? 'no limit' : number(one.spend_limit))], ['Wrote', (one) => html`<${When} ms=${one.last_write_ms} />`],
      ['', (one) => html`<div class="row"><${Limit} agent=${one} /><${Token} agent=${one} /><${Act} tone="small danger" label=${`Revoke ${one.agent}`} run=${() => post(['agents', one.agent, 'revoke'], { leave: true })} done=${`${one.agent} is gone.`}
        ask=${{ title: `Revoke ${one.agent}?`, text: 'It leaves its groups, and its key is destroyed: what tokens it has left, nobody can move any more.', yes: 'Revoke it' }}>Revoke<//></div>`, 'fit']]} />`
      : html`<${Empty} title="This node hosts no agent"><p>Make one for each program that should have a name and tokens of its own. Programs without one act as this node.</p><//>`)}<//><//>
    <p class="help">An MCP client starts <code>lbm mcp --agent NAME</code> to be an agent of this machine. A client over HTTP shows the agent’s token.</p>`;
}
