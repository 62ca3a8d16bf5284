// For `node --import`: see plugin.ts.
import { hookNode } from './plugin.ts';

hookNode();
