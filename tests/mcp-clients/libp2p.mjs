// A libp2p node that others wrote: connects to the address that is named, says what it sees, and then behaves badly.
// One JSON object a line. What it sends is said on standard input, a protocol and a kind of rubbish a line.
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { createInterface } from 'node:readline'

const say = what => console.log(JSON.stringify(what))
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const TOPIC = '/lbm/market/1'

const address = multiaddr(process.argv[2])
const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionGater: { denyDialMultiaddr: () => false },
  services: { identify: identify(), ping: ping(), pubsub: gossipsub({ globalSignaturePolicy: 'StrictNoSign' }) }
})
node.services.pubsub.addEventListener('message', event => {
  say({ gossip: Buffer.from(event.detail.data).toString('hex'), topic: event.detail.topic })
})
node.services.pubsub.subscribe(TOPIC)

const connection = await node.dial(address)
const peer = connection.remotePeer
const identified = async () => {
  for (let tries = 0; tries < 100; tries++) {
    const known = await node.peerStore.get(peer)
    if (known.metadata.has('AgentVersion')) return known
    await pause(50)
  }
  throw new Error('the node never said who it is')
}
const known = await identified()
const agent = new TextDecoder().decode(known.metadata.get('AgentVersion'))
const rtt = await node.services.ping.ping(peer)
const hears = async () => {
  for (let tries = 0; tries < 100; tries++) {
    if (node.services.pubsub.getSubscribers(TOPIC).some(other => other.equals(peer))) return true
    await pause(50)
  }
  return false
}
say({ connected: peer.toString(), protocols: known.protocols, agent, rtt, hears: await hears() })

// What comes back to bytes that are no request; null where the stream ends without a word.
const send = async (protocol, bytes) => {
  const stream = await node.dialProtocol(address, protocol)
  const read = (async () => {
    const parts = []
    for await (const part of stream) parts.push(Buffer.from(part.subarray()))
    return Buffer.concat(parts).toString('hex')
  })()
  try {
    if (!stream.send(bytes)) await stream.onDrain({ signal: AbortSignal.timeout(5000) })
    await stream.close({ signal: AbortSignal.timeout(5000) })
    return await Promise.race([read, pause(10000).then(() => 'silence')])
  } catch (error) {
    return `error: ${error.message}`
  }
}
const length = size => { const bytes = Buffer.alloc(4); bytes.writeUInt32BE(size); return bytes }
const framed = payload => Buffer.concat([length(payload.length + 1), Buffer.from([0]), payload])
const garbage = {
  noise: Buffer.from(Array.from({ length: 300 }, (_, n) => (n * 7919) % 251)),
  nothing: Buffer.alloc(0),
  framed: framed(Buffer.from('not CBOR at all')),
  huge: Buffer.concat([length(0xffffffff), Buffer.from([0])]),
  half: Buffer.concat([length(1000), Buffer.alloc(10)])
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') break
  const [protocol, kind] = line.split(' ')
  try {
    say({ protocol, kind, answer: await send(protocol, garbage[kind]) })
  } catch (error) {
    say({ protocol, kind, refused: error.message })
  }
}
await node.stop()
process.exit(0)
