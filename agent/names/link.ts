// One network interface as mDNS sees it: a socket of its own, on the port that everybody shares.
import { createSocket, type Socket } from 'node:dgram';
import { BlockList } from 'node:net';
import { decodeMessage, encodeMessage } from './codec.ts';
import { mdnsPort, type Message, type Sender } from './messages.ts';

const group = '224.0.0.251';

export interface LinkOptions {
  /** IPv4, ours on the interface. */
  readonly address: string;
  readonly prefixLength: number;
  readonly onMessage: (message: Message, from: Sender) => void;
  readonly onError: (error: Error) => void;
}

export class Link {
  readonly #socket: Socket;
  readonly #options: LinkOptions;
  readonly #subnet = new BlockList();
  #isClosed = false;
  #sending = 0;
  readonly #sent = Promise.withResolvers<void>();

  private constructor(socket: Socket, options: LinkOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#subnet.addSubnet(options.address, options.prefixLength);
    socket.on('message', (bytes, from) => this.#receive(bytes, from));
    socket.on('error', (error) => options.onError(error));
  }

  /** Rejects when the port can't be shared, or the interface is gone. */
  static open(options: LinkOptions): Promise<Link> {
    const { address } = options;
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      // Bound to the address itself, Linux would deliver no multicast.
      socket.bind({ address: '0.0.0.0', port: mdnsPort }, () => {
        try {
          socket.addMembership(group, address);
          socket.setMulticastInterface(address);
          socket.setMulticastTTL(255);
          socket.setMulticastLoopback(true);
        } catch (error) {
          socket.close();
          return reject(error);
        }
        socket.removeAllListeners('error');
        resolve(new Link(socket, options));
      });
    });
  }

  /** To all on the link when `to` is left out. */
  send(message: Message, to: Sender = { address: group, port: mdnsPort }): void {
    if (this.#isClosed) return;
    this.#sending++;
    this.#socket.send(encodeMessage(message), to.port, to.address, (error) => {
      this.#sending--;
      if (this.#isClosed && this.#sending === 0) this.#sent.resolve();
      if (error !== null && !this.#isClosed) this.#options.onError(error);
    });
  }

  /** The kernel hands what comes by any interface to every socket: only what is from this one's counts. */
  #receive(bytes: Buffer, from: Sender): void {
    if (this.#isClosed || !this.#subnet.check(from.address)) return;
    const message = decodeMessage(bytes);
    if (message !== undefined) this.#options.onMessage(message, from);
  }

  /** After what was sent has left. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#sending > 0) await this.#sent.promise;
    await new Promise<void>((resolve) => void this.#socket.close(resolve));
  }
}
