// The desktop app: one instance, the cluster's processes beside it, a window and a tray icon.
// It holds no cluster logic: the window is a browser of the control plane's own user interface.
// Closing the window leaves the cluster running; "Quit" stops agent and control plane in order,
// and containers keep running all the same.
import { app, dialog } from 'electron';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import { systemClock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { dataDirectoryError, openDataDirectory } from '#platform/data-directory.ts';
import { processLogger } from '#platform/log-sink.ts';
import { exitCodes } from '#platform/parent-channel.ts';
import { ClusterProcesses } from '../cluster-processes.ts';
import { helpText, OptionError, ownFlags, parseLaunchOptions, type Options } from '../options.ts';
import { spawnChild } from './child.ts';
import { createTray } from './tray.ts';
import { AppWindow } from './window.ts';

const appFolder = path.join(import.meta.dirname, '../..');

function options(): Options {
  try {
    return parseLaunchOptions(ownFlags(process.argv.slice(1)), process.env, networkInterfaces());
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return app.exit(exitCodes.cannotRun) as never;
  }
}

/** Ends the app; a dialog blocks until somebody answers: not where nobody looks. */
function cannotRun(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  if (process.env['FLOTILLA_NO_DIALOGS'] === undefined)
    dialog.showErrorBox('Flotilla cannot start', sentence);
  return app.exit(exitCodes.cannotRun) as never;
}

function openLog(directory: string): Logger {
  try {
    openDataDirectory(directory);
    const logs = path.join(directory, 'logs');
    return processLogger({ directory: logs, name: 'desktop', clock: systemClock });
  } catch (error) {
    const known = dataDirectoryError(error, directory);
    if (known === undefined) throw error;
    return cannotRun(known.message);
  }
}

function run(given: Options): void {
  const logger = openLog(given.dataDirectory);
  const window = new AppWindow({
    preload: path.join(import.meta.dirname, 'preload.cjs'),
    icon: path.join(appFolder, 'resources/icons/icon.png'),
    logger,
  });
  const processes = new ClusterProcesses({
    options: given,
    bundles: path.join(appFolder, 'out'),
    spawn: spawnChild,
    clock: systemClock,
    logger,
    onReady: (ready) => window.serve(ready.uiUrl),
    onAgent: (message) => logger.info('Agent reported', { type: message.type }),
    onCannotRun: cannotRun,
  });

  const icons = path.join(appFolder, 'resources/icons');
  const tray = createTray({ folder: icons, show: () => window.show() });
  let stopped = false;
  app.on('before-quit', (event) => {
    if (stopped) return;
    event.preventDefault();
    window.close();
    void processes.stop().then(() => {
      stopped = true;
      tray.destroy();
      app.quit();
    });
  });
  app.on('second-instance', () => window.show());
  app.on('activate', () => window.show());
  // The tray keeps the app alive: closing the window stops nothing.
  app.on('window-all-closed', () => {});
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => app.quit());

  window.show();
  processes.start();
}

const given = options();
if (given.help) {
  process.stdout.write(helpText);
  app.exit(0);
} else if (app.requestSingleInstanceLock()) {
  // Not awaited: Electron gets ready only after this module has been evaluated.
  void app.whenReady().then(() => run(given));
} else {
  process.stderr.write('Flotilla is already running; its window comes to the front.\n');
  app.exit(0);
}
