// What this room knows of the members: whoever puts the control plane together gives it (members/ is another room).
import type { MembersReport } from '#kube/api/flotilla.ts';

export interface Group {
  report(): MembersReport;
  /** Undefined: it has not said so yet. */
  isAlwaysOn(id: number): boolean | undefined;
  /** The file by which `name` joins. Only on the leader. Throws in words; then nothing is changed. */
  invite(name: string, address: string): Promise<string>;
  /** Only on the leader. Throws in words when the others could not do without it, and nothing is changed. */
  remove(name: string): Promise<void>;
  /** Leadership goes to another member, if there is one that may have it. Throws when there is none. */
  handOver(): Promise<void>;
  /** Called whenever who leads or who takes part changed, until the signal aborts. */
  onChange(listener: () => void, signal: AbortSignal): void;
}
