// Package story tries the three commands as a new user would: from an empty directory to an instance that renews, extends and
// gives back its own lease through the API, command by command. EC2 and its metadata service are simulated, over HTTP; all else is
// as it is installed.
package story
