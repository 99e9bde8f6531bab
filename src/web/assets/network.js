// The peers as a picture: this node in the middle, each peer around it, and how they are joined.
import { html } from './ui.js';
import { called, rtt } from './words.js';

const MOST = 14;
const cut = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);

export function Network({ node, peers }) {
  const shown = peers.slice(0, MOST);
  // One or two stand in a row, and more in a ring.
  const flat = shown.length < 3;
  const [w, h] = [480, flat ? 130 : 300];
  const middle = [shown.length === 1 ? 130 : w / 2, flat ? 50 : h / 2 - 12];
  const place = (index) => {
    const angle = (index / Math.max(shown.length, 1)) * 2 * Math.PI - (flat ? 0 : Math.PI / 2 - (shown.length % 2 ? 0 : Math.PI / shown.length));
    return [middle[0] + Math.cos(angle) * (shown.length === 1 ? 220 : 180), middle[1] + Math.sin(angle) * 104];
  };
  const here = peers.filter((peer) => peer.connected).length;
  return html`<svg class="network" viewBox=${`0 0 ${w} ${h}`} role="img" aria-label=${`${node.name} is connected to ${here} of ${peers.length} known peers`}>
    ${shown.map((peer, index) => {
      const [x, y] = place(index);
      return html`<line class=${`wire ${peer.connected ? 'good' : 'away'}`} x1=${middle[0]} y1=${middle[1]} x2=${x} y2=${y} />`;
    })}
    ${shown.map((peer, index) => {
      const [x, y] = place(index);
      const line = peer.connected ? `${peer.connection?.transport ?? ''} ${rtt(peer.connection?.rtt_us)}` : 'away';
      return html`<g class=${`peer ${peer.connected ? 'good' : ''}`}><title>${`${called(peer.peer_id)}: ${line}`}</title><circle cx=${x} cy=${y} r="13" />
        <text x=${x} y=${y + 31}>${cut(called(peer.peer_id))}</text><text class="sub" x=${x} y=${y + 47}>${line}</text></g>`;
    })}
    <g class="self"><circle cx=${middle[0]} cy=${middle[1]} r="20" /><text class="name" x=${middle[0]} y=${middle[1] + 38}>${cut(node.name)}</text></g>
  </svg>${peers.length > MOST && html`<p class="muted">and ${peers.length - MOST} more</p>`}`;
}
