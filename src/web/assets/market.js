// What is for sale, what was bought and how far that is, and what can be opened.
import { html, useState, useData, usePages, Await, More, Page, Card, Empty, Table, Badge, When, Who, Act, Opens, Form, Dialog, toast } from './ui.js';
import { get, post } from './api.js';
import { groups, whyNot } from './state.js';
import { number, bytes, capital, plural } from './words.js';

const STEPS = [['ordered', 'Ordered'], ['paid', 'Paid'], ['granted', 'Key delivered'], ['settled', 'Settled']];
const NEXT = { approve: 'a person approves it', order: 'a member writes the order down', seal: 'the notary seals', grant: 'the seller delivers the key', settle: 'the buyer opens and pays', refund: 'the price goes back' };

function Steps({ one }) {
  if (one.status === 'refunded') return html`<ol class="steps"><li class="done">Ordered</li><li class="done">Paid</li><li class="bad">Refunded${one.ending ? `: ${one.ending.replace('_', ' ')}` : ''}</li></ol>`;
  const at = STEPS.findIndex(([status]) => status === one.status);
  return html`<ol class="steps">${STEPS.map(([status, words], index) => html`<li key=${status} class=${index < at || one.status === 'settled' ? 'done' : index === at ? 'now' : ''}>${words}</li>`)}</ol>
    ${one.next && html`<p class="help">Next: ${NEXT[one.next]}${one.next_ms ? html`, <${When} ms=${one.next_ms} />` : ''}</p>`}`;
}

function Buy({ offer }) {
  const [balance, setBalance] = useState(null);
  const ask = () => get(['groups', offer.group_id, 'balance']).then((got) => setBalance(got.balance), () => {});
  return html`<${Opens} title="Buy this?" button="Buy" tone="small primary" label=${`Buy ${offer.title}`} why=${whyNot(groups.get(offer.group_id), 'viewer')}>${(close) => html`
    <div ref=${(node) => { if (node && balance === null) { setBalance(undefined); ask(); } }}>
    <p><strong>${offer.title}</strong> of <${Who} id=${offer.seller} /></p>
    <dl class="facts"><dt>Price</dt><dd>${number(offer.price)} ${offer.currency}</dd><dt>You have</dt><dd>${balance == null ? 'not known here' : number(balance)}</dd>
      <dt>Size</dt><dd>${bytes(offer.content_bytes)}</dd><dt>Delivered</dt><dd>${offer.settle === 'sealed' ? 'when the order is final' : 'at once'}</dd></dl>
    ${balance != null && balance < offer.price ? html`<p class="note warn">You have ${number(offer.price - balance)} ${offer.currency} too few: earn them by tasks and claims, or ask an admin of ${offer.group ?? 'the group'}.</p>`
      : html`<p class="help">The price is set aside until the package opens here; else it comes back.</p>`}</div>
    <${Form} verb=${`Buy for ${number(offer.price)} ${offer.currency}`} close=${close} fields=${[]}
      send=${() => post(['offers', offer.offer_id, 'buy'], { max_price: offer.price, wait_ms: 8000 })}
      sent=${(bought) => { close(); toast(bought.opened ? `“${bought.title}” is in the library.` : bought.status === 'waiting_for_approval' ? 'It is above the spending limit, and waits until a person approves it: under Purchases and sales.'
        : `It is ${capital(bought.status).toLowerCase()}: the rest happens by itself.`, bought.status === 'waiting_for_approval' ? 'warn' : 'good'); }} />`}<//>`;
}

const sells = () => [...groups.values()].filter((group) => !group.joining && !whyNot(group));

const Sell = () => html`<${Opens} title="Offer something for sale" button="Sell something" tone="primary" wide=${true} why=${whyNot() ?? (sells().length ? null : 'This node may write in none of its groups')}>${(close) => html`
  <${Form} verb="Offer it" close=${close} fields=${[
    { name: 'group', label: 'In whose tokens', options: sells().map((group) => [group.group_id, group.name]) },
    { name: 'title', label: 'Title', required: true, attrs: { maxlength: 256 } }, { name: 'description', label: 'What it is', rows: 2 },
    { name: 'price', label: 'Price', type: 'number', required: true, attrs: { min: 0 } }, { name: 'tags', label: 'Tags', help: 'With commas between them' },
    { name: 'text', label: 'What is sold', required: true, rows: 6, help: 'It is encrypted here, and only who has paid can read it' }]}
    send=${({ group, title, description, price, tags, text }) => post(['groups', group, 'offers'], { title, description: description || undefined, price, text, tags: tags.split(',').map((tag) => tag.trim()).filter(Boolean) })}
    sent=${() => { close(); toast('It is for sale.'); }} />`}<//>`;

function Offers() {
  const [mine, setMine] = useState(false);
  const pages = usePages((page) => get(['offers'], { ...page, mine: mine || undefined }), (page) => page.offers, [mine], (event) => /^(offer|purchase|sealed|block)/.test(event.type), 40);
  return html`<${Card} title="Offers" side=${html`<label class="row"><input type="checkbox" checked=${mine} onChange=${(event) => setMine(event.target.checked)} /> Only mine</label>`}>
    <${Await} of=${pages}>${({ rows }) => (rows.length ? html`<${Table} label="Offers" rows=${rows} keyOf=${(one) => one.offer_id + one.seller} columns=${[
      ['Offer', (one) => html`<div><strong>${one.title}</strong>${one.description && html`<br /><span class="muted">${one.description}</span>`}<br />${one.tags.map((tag) => html`<span class="tag">${tag}</span> `)}</div>`],
      ['Seller', (one) => html`<${Who} id=${one.seller} />`], ['Group', (one) => one.group], ['Size', (one) => bytes(one.content_bytes), 'num'],
      ['Sold', (one) => (one.sold == null ? '–' : number(one.sold)), 'num'], ['Price', (one) => `${number(one.price)} ${one.currency}`, 'num'],
      ['', (one) => (one.owned ? html`<${Badge} tone="good">owned<//>` : one.mine ? (one.status === 'standing' ? html`<${Act} tone="small" label=${`End the offer ${one.title}`} run=${() => post(['offers', one.offer_id, 'revoke'])} done="It is for sale no more."
        ask=${{ title: 'End this offer?', text: `“${one.title}” cannot be bought any more. Who has bought it keeps it.`, yes: 'End it' }}>End<//>` : html`<${Badge}>${one.status}<//>`)
        : one.status !== 'standing' ? html`<${Badge}>${one.status}<//>` : html`<${Buy} offer=${one} />`), 'fit']]} />`
      : html`<${Empty} title="Nothing is for sale here"><p>Offers of your groups and of peers show here by themselves. Sell something, or ask peers now.</p><//>`)}<//>
    <${More} pages=${pages} what="offers" /><//>`;
}

const Purchases = ({ rows }) => html`<${Card} title="Purchases and sales">${rows.length ? html`<${Table} label="Purchases" rows=${rows} keyOf=${(one) => (one.purchase_id ?? one.offer_id) + one.side} columns=${[
  ['What', (one) => html`<div><strong>${one.title}</strong><br /><span class="muted">${one.side === 'buyer' ? 'from' : 'to'} <${Who} id=${one.side === 'buyer' ? one.seller : one.buyer} />, <${When} ms=${one.paid_ms} /></span></div>`],
  ['Steps', (one) => (one.status === 'waiting_for_approval' ? html`<div><${Badge} tone="warn">above the spending limit<//> <${Act} tone="small primary" label=${`Approve ${one.title}`} run=${() => post(['offers', one.offer_id, 'approve'])} done="Approved: it is bought now.">Approve<//></div>` : html`<div><${Steps} one=${one} /></div>`)],
  ['Price', (one) => number(one.price), 'num']]} />` : html`<${Empty} title="Nothing was bought or sold yet"><p>What you buy shows here step by step.</p><//>`}<//>`;

function Content({ item, close }) {
  const found = useData(() => get(['library', item.offer_id]), [item.offer_id], () => false);
  return html`<${Dialog} title=${item.title} close=${close} wide=${true}><${Await} of=${found}>${({ text, content_base64 }) => (text != null
    ? html`<pre class="text" dir="auto" tabindex="0">${text}</pre>` : html`<p>${bytes(item.content_bytes)} that are no text. <a class="btn" download=${item.title} href=${`data:application/octet-stream;base64,${content_base64}`}>Save it</a></p>`)}<//><//>`;
}

function Library({ rows }) {
  const [shown, show] = useState(null);
  return html`<${Card} title="Library" side=${number(rows.length)}>${rows.length ? html`<${Table} label="Library" rows=${rows} keyOf=${(one) => one.offer_id} columns=${[
    ['Package', (one) => html`<strong>${one.title}</strong> ${one.purchase_id ? '' : html`<${Badge}>mine<//>`}`], ['From', (one) => html`<${Who} id=${one.seller} />`], ['Since', (one) => html`<${When} ms=${one.since_ms} />`],
    ['Size', (one) => bytes(one.content_bytes), 'num'], ['', (one) => html`<button class="btn small" aria-label=${`Open ${one.title}`} onClick=${() => show(one)}>Open</button>`, 'fit']]} />`
    : html`<${Empty} title="The library is empty"><p>What you buy or sell can be opened here.</p><//>`}
    ${shown && html`<${Content} item=${shown} close=${() => show(null)} />`}<//>`;
}

export function Market() {
  const found = useData(async () => {
    const [{ purchases }, { packages }] = await Promise.all([get(['purchases'], { limit: 50 }), get(['library'])]);
    return { purchases, packages };
  }, [], (event) => /^(purchase|offer|sealed)/.test(event.type));
  return html`<${Page} title="Market" sub="Packages of knowledge, for tokens" actions=${html`<${Act} run=${() => post(['market', 'pull'])} done=${({ peers }) => `Asked ${plural(peers, 'peer')} what ${peers === 1 ? 'it sells' : 'they sell'}.`}>Ask peers now<//>${groups.size > 0 && html`<${Sell} />`}`} />
    <${Offers} /><${Await} of=${found}>${({ purchases, packages }) => html`<div class="grid"><${Purchases} rows=${purchases} /><${Library} rows=${packages} /></div>`}<//>`;
}
