// Runs before the page, isolated from it. The page is an ordinary client of the API on its own
// origin and needs nothing from Electron but to know that it is inside a window of ours.
import { contextBridge } from 'electron';

contextBridge.exposeInMainWorld('flotillaDesktop', { platform: process.platform });
