// The peers as a picture: this node in the middle, each peer around it, and how they are joined.
import { html } from './ui.js';
import { called, rtt } from './words.js';

const MOST = 14;
const cut = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);

export function Network({ node, peers }) {
  const shown = peers.slice(0, MOST);
  const [w, h] = [640, 300];
  const place = (index) => {
    const angle = (index / Math.max(shown.length, 1)) * 2 * Math.PI - Math.PI / 2 + (shown.length === 2 ? Math.PI / 2 : 0);
    return [w / 2 + Math.cos(angle) * 235, h / 2 - 6 + Math.sin(angle) * 98];
  };
  const here = peers.filter((peer) => peer.connected).length;
  return html`<svg class="network" viewBox=${`0 0 ${w} ${h}`} role="img" aria-label=${`${node.name} is connected to ${here} of ${peers.length} known peers`}>
    ${shown.map((peer, index) => {
      const [x, y] = place(index);
      return html`<line class=${`wire ${peer.connected ? 'good' : 'away'}`} x1=${w / 2} y1=${h / 2 - 6} x2=${x} y2=${y} />`;
    })}
    ${shown.map((peer, index) => {
      const [x, y] = place(index);
      const line = peer.connected ? `${peer.connection?.transport ?? ''} ${rtt(peer.connection?.rtt_us)}` : 'away';
      return html`<g class=${`peer ${peer.connected ? 'good' : ''}`}><title>${`${called(peer.peer_id)}: ${line}`}</title><circle cx=${x} cy=${y} r="13" />
        <text x=${x} y=${y + 29}>${cut(called(peer.peer_id))}</text><text class="sub" x=${x} y=${y + 43}>${line}</text></g>`;
    })}
    <g class="self"><circle cx=${w / 2} cy=${h / 2 - 6} r="20" /><text class="name" x=${w / 2} y=${h / 2 + 32}>${cut(node.name)}</text></g>
  </svg>${peers.length > MOST && html`<p class="muted">and ${peers.length - MOST} more</p>`}`;
}
