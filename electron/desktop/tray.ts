// The tray icon: proof that the cluster runs while its window is closed, and the way to quit it.
import { app, Menu, nativeImage, Tray } from 'electron';
import path from 'node:path';

export interface TrayOptions {
  readonly folder: string;
  readonly show: () => void;
}

/** The caller keeps it for the app's lifetime: a collected Tray disappears from the screen. */
export function createTray({ folder, show }: TrayOptions): Tray {
  const name = process.platform === 'darwin' ? 'trayTemplate.png' : 'tray.png';
  const tray = new Tray(nativeImage.createFromPath(path.join(folder, name)));
  tray.setToolTip('Flotilla');
  tray.setContextMenu(
    Menu.buildFromTemplate([
      { label: 'Open Flotilla', click: show },
      { type: 'separator' },
      { label: 'Quit (apps keep running)', click: () => app.quit() },
    ]),
  );
  tray.on('click', show);
  return tray;
}
