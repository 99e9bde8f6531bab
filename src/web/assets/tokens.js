// The group's tokens: how many there are, who has them, what moved them.
import { html, useData, usePages, Await, More, Page, Card, Table, Badge, When, Who, Final, Opens, Form, Empty, toast } from './ui.js';
import { get, post, put } from './api.js';
import { whyNot } from './state.js';
import { number, called, capital } from './words.js';

const Pay = ({ group, members, verb, title, button, tone }) => html`<${Opens} title=${title} button=${button} tone=${tone} why=${whyNot(group, 'viewer')}>${(close) => html`
  <${Form} verb=${title} close=${close} fields=${[{ name: 'to', label: 'To', options: members.map((one) => [one.member_id, called(one.member_id)]) },
    { name: 'amount', label: 'Tokens', type: 'number', required: true, attrs: { min: 1 } }]}
    send=${(given) => post(['groups', group.group_id, verb], given)} sent=${({ fee }) => { close(); toast(fee ? `Done; it cost ${number(fee)} on top.` : 'Done.'); }} />`}<//>`;

const Limit = ({ group, limit }) => html`<${Opens} title="What this node may spend" button="Limit">${(close) => html`
  <p class="help">What leaves this node’s account by its own acts. A purchase above it waits until a person approves it, the rest is refused.</p>
  <${Form} verb="Set" close=${close} fields=${[{ name: 'per_day', label: 'Tokens in any 24 hours', type: 'number', value: limit.per_day, help: 'Empty for no limit', attrs: { min: 0 } }]}
    send=${({ per_day }) => put(['groups', group.group_id, 'spending-limit'], { per_day })} sent=${() => { close(); toast('Set.'); }} />`}<//>`;

export function Tokens({ group, status }) {
  const id = group.group_id;
  const mine = (event) => event.group_id === id && /^(tokens|claim_p|task|member|purchase|policy|sealed|block)/.test(event.type);
  const found = useData(async () => {
    const at = (...more) => get(['groups', id, ...more]);
    const [stats, { members }, detail, limit] = await Promise.all([at('stats'), at('members'), at(), at('spending-limit')]);
    return { stats, members, detail, limit };
  }, [id], mine);
  const moves = usePages((page) => get(['groups', id, 'history'], page), (page) => page.moves, [id], mine, 30);
  return html`${!found.data && html`<h1 tabindex="-1">Tokens</h1>`}<${Await} of=${found}>${({ stats, members, detail, limit }) => {
    const admin = detail.role === 'admin';
    const most = Math.max(1, ...members.map((one) => one.balance));
    return html`<${Page} title="Tokens" sub=${`${detail.currency} of ${detail.name}`} actions=${html`
        <${Pay} group=${group} members=${members.filter((one) => !one.is_self)} verb="transfer" title="Give tokens" button="Give" tone="primary" />
        ${admin && html`<${Pay} group=${group} members=${members} verb="mint" title="Make tokens" button="Make" /><${Pay} group=${group} members=${members} verb="pay" title="Pay out of the treasury" button="Pay out" />`}<${Limit} group=${group} limit=${limit} />`} />
      <dl class="stats">${[['Supply', stats.total_supply], ['Treasury', stats.treasury_balance], ['Set aside', stats.escrow_balance], ['Accounts', stats.accounts]].map(([words, n]) => html`<div><dt>${words}</dt><dd>${number(n)}</dd></div>`)}
        <div><dt>Spent in 24 hours</dt><dd>${number(limit.spent)}${limit.per_day != null && html` <span class="help">of at most ${number(limit.per_day)}</span>`}</dd></div></dl>
      <div class="grid"><${Card} title="Balances"><${Table} label="Balances" rows=${[...members].sort((a, b) => b.balance - a.balance)} keyOf=${(one) => one.member_id} columns=${[
        ['Account', (one) => html`<${Who} id=${one.member_id} />`], ['Share', (one) => html`<meter min="0" max=${most} value=${one.balance} aria-label=${`Tokens of ${called(one.member_id)}`}></meter>`],
        ['Tokens', (one) => number(one.balance), 'num']]} /><//>
      <${Card} title="What moved this node’s tokens"><${Await} of=${moves}>${({ rows }) => (rows.length ? html`<${Table} label="Moves" rows=${rows} keyOf=${(one) => `${one.block_id}${one.transaction}${one.direction}${one.kind}`} columns=${[
        ['What', (one) => html`${capital(one.kind)}${one.counterpart ? html` <${Who} id=${one.counterpart} />` : ''}${one.task_id ? ` ${one.task_id}` : ''}`], ['When', (one) => html`<${When} ms=${one.created_ms} />`],
        ['', (one) => html`<${Final} is=${one.final} />`, 'fit'],
        ['Amount', (one) => `${one.direction === 'in' ? '+' : '−'}${number(one.amount + one.fee)}`, 'num'], ['Balance', (one) => number(one.balance), 'num']]} />`
        : html`<${Empty} title="Nothing has moved yet"><p>Publish a claim or complete a task: what the policy gives for it shows here.</p><//>`)}<//><${More} pages=${moves} what="moves" /><//></div>`;
  }}<//>`;
}
