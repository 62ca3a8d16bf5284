// Stands in for the package debug, which docker-modem loads to tell of each request on a terminal: nobody looks
// there, and it brings terminals, colours and times of its own. electron/build.ts puts it in its place.
const silent = (): void => {};
const debug = () => silent;

// As `require` gives it: a function.
export { debug as 'module.exports' };
