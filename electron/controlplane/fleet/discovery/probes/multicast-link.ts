// One link's multicast DNS: asks for services and names, and hears what others say unasked. A stock Raspberry Pi announces no
// service, but its name when it starts; so names are asked for as well, those that systems have before anybody
// changes them.
import { Bonjour } from 'bonjour-service';
import { parseIpv4Network, type Ipv4Network } from '#kube/machinery/ipv4.ts';
import { readAnswers, reverseName, type Heard, type MulticastRecord } from './multicast-answers.ts';

/** What we use of multicast-dns, which bonjour-service stands on. */
interface MulticastDns {
  on(
    event: 'response',
    listener: (packet: Response, from: { readonly address: string }) => void,
  ): void;
  on(event: 'error' | 'warning', listener: (error: Error) => void): void;
  query(questions: readonly { readonly name: string; readonly type: string }[]): void;
  query(
    message: { readonly questions: readonly { readonly name: string; readonly type: string }[] },
    to: { readonly address: string; readonly port: number },
  ): void;
}

interface Response {
  readonly answers: readonly MulticastRecord[];
  readonly additionals: readonly MulticastRecord[];
}

const port = 5353;
const services = ['ssh', 'sftp-ssh', 'workstation', 'flotilla'].map((name) => ({
  name: `_${name}._tcp.local`,
  type: 'PTR',
}));
const stockNames = ['raspberrypi', 'raspberrypi-2', 'raspberrypi-3', 'ubuntu', 'debian'].map(
  (name) => ({ name: `${name}.local`, type: 'A' }),
);

export interface LinkAddress {
  readonly name: string;
  readonly address: string;
  /** `192.168.1.20/24`. */
  readonly cidr: string;
}

export interface Link {
  /** Asks who is there. */
  ask(): void;
  /** Asks a device for its name; by doing so its network card becomes known. */
  askName(address: string): void;
  /** Asks for the address of `kitchen` or `kitchen.local`; other names are not of this kind. */
  askAddress(hostName: string): void;
  close(): Promise<void>;
}

export interface LinkEvents {
  readonly onHeard: (heard: readonly Heard[]) => void;
  readonly onError: (error: Error) => void;
}

export function openLink(at: LinkAddress, { onHeard, onError }: LinkEvents): Link {
  const network: Ipv4Network = parseIpv4Network(at.cidr) ?? { first: 0, last: -1, prefixLength: 0 };
  // Bound to everything: bound to one address, Linux hands over nothing that was sent to the group.
  const options = { interface: at.address, bind: '0.0.0.0' } as object;
  const bonjour = new Bonjour(options, onError);
  const { mdns } = (bonjour as unknown as { server: { mdns: MulticastDns } }).server;
  mdns.on('error', onError);
  // Messages of others that can't be read, and the like.
  mdns.on('warning', onError);
  mdns.on('response', ({ answers, additionals }, from) => {
    const heard = readAnswers([...answers, ...additionals], from.address, { ...at, network });
    if (heard.length > 0) onHeard(heard);
  });
  return {
    // Not by its browsers: those keep every service that anybody makes up, without end, and look through all at each message.
    ask() {
      mdns.query(services);
      mdns.query(stockNames);
    },
    askName(address) {
      const questions = [{ name: reverseName(address), type: 'PTR' }];
      mdns.query(questions);
      mdns.query({ questions }, { address, port });
    },
    askAddress(hostName) {
      const [label = '', domain = 'local', ...more] = hostName.split('.');
      if (domain === 'local' && more.length === 0)
        mdns.query([{ name: `${label}.local`, type: 'A' }]);
    },
    close() {
      return new Promise((resolve) => bonjour.destroy(() => resolve()));
    },
  };
}
